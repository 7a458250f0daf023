"""Allowances: what is given at once, what comes back, and what processes that share them give together."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.core.allowances import Allowance, Allowances, Lent, OwnLeases, lent
from stellaops.core.errors import DependencyFailed


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Counted(OwnLeases):
    """Leases that know how often they were asked, and can be away."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.asked, self.away = 0, False

    def lend(self, wanted: Mapping[str, int], allowance: Allowance) -> Mapping[str, Lent]:
        self.asked += 1
        if self.away:
            raise DependencyFailed("the store does not answer")
        return super().lend(wanted, allowance)


def _take(allowances: Allowances, name: str = "one") -> float:
    found = allowances.at_once(name)
    return allowances.ask(name) if found is None else found


def _let_through(allowances: Allowances, asks: int, name: str = "one") -> int:
    return sum(_take(allowances, name) == 0 for _ in range(asks))


def test_an_allowance_fills_again_steadily() -> None:
    clock = Clock()
    one = Allowances(Allowance(6, 1), OwnLeases(clock), clock)
    assert _let_through(one, 10) == 6
    assert 0 < _take(one) <= 1
    assert _let_through(one, 3, "two") == 3
    clock.now += 1
    assert _let_through(one, 3) == 1
    clock.now += 1000
    assert _let_through(one, 10) == 6, "it holds no more than its size"


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 3)), max_size=200), st.integers(1, 400))
def test_processes_together_never_give_more_than_the_allowance_and_a_block_each(
    asks: list[tuple[int, float]], size: int
) -> None:
    clock, rate = Clock(), size / 6
    allowance, leases = Allowance(size, rate), OwnLeases(clock)
    processes = [Allowances(allowance, leases, clock) for _ in range(4)]
    given_at: list[float] = []
    for which, pause in asks:
        clock.now += pause
        given_at += [clock.now] * (_take(processes[which]) == 0)
    for first, start in enumerate(given_at):
        for last in range(first, len(given_at)):
            most = size + (given_at[last] - start) * rate + len(processes) * allowance.block
            assert last - first + 1 <= most + 1e-6


def test_the_store_is_asked_once_for_a_block_and_not_for_each_request() -> None:
    clock = Clock()
    leases = Counted(clock)
    one = Allowances(Allowance(600, 100), leases, clock)
    assert _let_through(one, 600) == 600
    assert leases.asked == 17, "600 in blocks of 37"
    assert _let_through(one, 1000) == 0
    assert leases.asked == 18, "an empty allowance is known to be empty for a while"


def test_who_waits_together_is_asked_for_together() -> None:
    clock = Clock()
    entered, leases = threading.Event(), Counted(clock)
    go_on = threading.Event()

    class Slow(Counted):
        def lend(self, wanted: Mapping[str, int], allowance: Allowance) -> Mapping[str, Lent]:
            entered.set()
            assert go_on.wait(10)
            return super().lend(wanted, allowance)

    leases = Slow(clock)
    one = Allowances(Allowance(60, 1), leases, clock)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(one.ask, "caller 0")
        assert entered.wait(10)
        rest = [pool.submit(one.ask, f"caller {number % 5}") for number in range(19)]
        while sum(each.waiting for each in one._held.values()) < 20:
            pass
        go_on.set()
        assert [each.result() for each in (first, *rest)] == [0.0] * 20
    assert leases.asked <= 3, "the first one, all others, and what the first one's block did not hold"


def test_where_the_store_is_away_each_process_counts_for_itself_and_does_not_ask_at_once_again() -> None:
    clock = Clock()
    leases = Counted(clock)
    leases.away = True
    one = Allowances(Allowance(60, 1), leases, clock)
    assert _let_through(one, 100) == 60
    assert leases.asked == 1
    leases.away = False
    clock.now += 10
    assert _let_through(one, 100) > 0
    assert leases.asked > 1


@pytest.mark.parametrize("ahead", [30.0, 1e9])
def test_a_clock_that_was_wrong_closes_nobody_out_for_long(ahead: float) -> None:
    found, whole_at = lent(1000.0 + ahead, 1000.0, 1, Allowance(6, 1))
    assert (found.number, whole_at) == (0, 1006.0)
    assert lent(whole_at, 1001.0, 1, Allowance(6, 1))[0].number == 1
