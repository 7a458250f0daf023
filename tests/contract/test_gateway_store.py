"""What the processes of a mirror host share, on each database and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from stellaops.adapters.sql.gateway_store import MemoryStore, SqlGatewayStore
from stellaops.gateway.budgets import BudgetStore
from tests.contract.stores import Place


@pytest.fixture
def store(place: Place) -> Iterator[SqlGatewayStore]:
    with closing(SqlGatewayStore(place.addresses["service"])) as found:
        yield found


def _behaves(store: BudgetStore) -> None:
    assert store.lease("a", 1, 6, 10) == (6, 4)
    assert store.lease("a", 1, 6, 10) == (4, 0)
    assert store.lease("a", 1, 1, 10) == (0, 0)
    store.give_back("a", 1, 3)
    assert store.lease("a", 1, 9, 10) == (3, 0)
    assert store.lease("a", 2, 1, 10) == (1, 9)
    assert store.lease("b", 1, 1, 10) == (1, 9)
    assert store.lease("a", 1, 1, 12) == (1, 1)  # the limit was raised
    assert store.lease("a", 2, 5, 1) == (0, 0)  # and lowered
    assert store.is_first_part("a", 1)
    assert not store.is_first_part("a", 1)
    assert store.is_first_part("a", 2)
    store.forget(9)
    assert store.lease("a", 1, 1, 10) == (1, 9)
    store.add({("m", "x"): 2.0, ("m", "y"): 1.0})
    store.add({("m", "x"): 3.0})
    assert store.counts() == {("m", "x"): 5.0, ("m", "y"): 1.0}
    assert store.read_to("log") is None
    assert store.add_read("log", None, ("1:2", 10), {("m", "y"): 1.0})
    assert not store.add_read("log", None, ("1:2", 10), {("m", "y"): 1.0})
    assert not store.add_read("log", ("1:2", 9), ("1:2", 20), {("m", "y"): 1.0})
    assert store.add_read("log", ("1:2", 10), ("1:3", 5), {})
    assert (store.read_to("log"), store.read_to("other")) == (("1:3", 5), None)
    assert store.counts() == {("m", "x"): 5.0, ("m", "y"): 2.0}


def test_budgets_and_counts_are_kept(store: SqlGatewayStore) -> None:
    _behaves(store)


def test_memory_does_the_same() -> None:
    _behaves(MemoryStore())


def test_no_more_is_ever_given_than_there_is(place: Place, store: SqlGatewayStore) -> None:
    with closing(SqlGatewayStore(place.addresses["service"])) as other, ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda n: (store, other)[n % 2].lease("a", 1, 3, 50)[0], range(40)))
    assert sum(given) == 50


def test_what_another_process_counted_is_seen(place: Place, store: SqlGatewayStore) -> None:
    store.add({("m", "x"): 2.0})
    with closing(SqlGatewayStore(place.addresses["service"])) as other:
        other.add({("m", "x"): 1.0})
        assert store.counts() == other.counts() == {("m", "x"): 3.0}


def test_a_part_of_a_log_is_counted_once_whoever_reads_it(place: Place, store: SqlGatewayStore) -> None:
    def read(n: int) -> bool:
        return (store, other)[n % 2].add_read("log", ("1:2", 0), ("1:2", 9), {("m", "x"): 1.0})

    store.add_read("log", None, ("1:2", 0), {})
    with closing(SqlGatewayStore(place.addresses["service"])) as other, ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(read, range(16))) == 1
    assert store.counts() == {("m", "x"): 1.0}
