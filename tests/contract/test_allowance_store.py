"""Allowances in the service store: shared by processes, in blocks, and gone when they are whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from stellaops.adapters.sql import migrations
from stellaops.adapters.sql.allowance_schema import allowance_t
from stellaops.adapters.sql.allowances import SqlAllowances
from stellaops.adapters.sql.engine import reading
from stellaops.core.allowances import Allowance, Allowances
from tests.contract.stores import Place

SIX = Allowance(6, 1)


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _leases(place: Place, clock: Clock, kind: str = "api") -> SqlAllowances:
    return SqlAllowances(place.engine(migrations.SERVICE), kind, clock)


def test_what_one_process_has_taken_another_one_does_not_get(place: Place, clock: Clock) -> None:
    here, there = _leases(place, clock), _leases(place, clock)
    assert here.lend({"ci": 4}, SIX)["ci"].number == 4
    assert there.lend({"ci": 4, "robot": 1}, SIX)["ci"].number == 2
    refused = here.lend({"ci": 1}, SIX)["ci"]
    assert (refused.number, round(refused.wait, 3)) == (0, 1.0)
    clock.now += 2.5
    assert there.lend({"ci": 9}, SIX)["ci"].number == 2
    assert _leases(place, clock, "other").lend({"ci": 9}, SIX)["ci"].number == 6, "kinds are apart"


def test_processes_that_ask_at_once_get_what_there_is_and_no_more(place: Place, clock: Clock) -> None:
    allowance = Allowance(100, 0.001)
    processes = [_leases(place, clock) for _ in range(4)]
    names = ["one", "two", "three"]

    def ask(number: int) -> dict[str, int]:
        order = names[number % 3 :] + names[: number % 3]
        found = processes[number % 4].lend(dict.fromkeys(order, 7), allowance)
        return {name: each.number for name, each in found.items()}

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(ask, range(60)))
    assert {name: sum(each[name] for each in got) for name in names} == dict.fromkeys(names, 100)


def test_two_processes_let_through_what_one_would_and_a_block_each_at_most(
    place: Place, clock: Clock
) -> None:
    allowance = Allowance(64, 1)
    processes = [Allowances(allowance, _leases(place, clock), clock) for _ in range(2)]
    through = 0
    for number in range(200):
        each = processes[number % 2]
        found = each.at_once("ci")
        through += (each.ask("ci") if found is None else found) == 0
    assert through == 64


def test_what_is_whole_again_is_removed(place: Place, clock: Clock) -> None:
    leases = _leases(place, clock)
    leases.lend({f"address 192.0.2.{number}": 1 for number in range(50)}, SIX)
    clock.now += 200
    leases.lend({"ci": 1}, SIX)
    with reading(place.engine(migrations.SERVICE)) as connection:
        assert [row.name for row in connection.execute(select(allowance_t.c.name))] == ["api ci"]


def test_a_clock_that_was_set_back_closes_nobody_out(place: Place, clock: Clock) -> None:
    leases = _leases(place, clock)
    clock.now += 3600
    assert leases.lend({"ci": 1}, SIX)["ci"].number == 1
    clock.now -= 3600
    assert leases.lend({"ci": 1}, SIX)["ci"].number == 0, "nobody knows what was taken"
    clock.now += 3
    assert leases.lend({"ci": 9}, SIX)["ci"].number == 3
