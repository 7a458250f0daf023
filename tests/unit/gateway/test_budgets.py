"""Hourly budgets in several processes that share a store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from stellaops.adapters.sql.gateway_store import MemoryStore
from stellaops.core.errors import DependencyFailed
from stellaops.gateway.budgets import Budgets

NOON = 1_790_000_000 // 3600 * 3600.0


class Clock:
    """Seconds that go on when they are told to."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class Away(MemoryStore):
    """A store that does not answer."""

    def lease(self, name: str, hour: int, wanted: int, limit: int) -> tuple[int, int]:
        raise DependencyFailed("away")

    def add(self, counts: Mapping[tuple[str, str], float]) -> None:
        raise DependencyFailed("away")


def _spend(budgets: Budgets, number: int, limit: int, name: str = "a") -> int:
    async def all_of_them() -> int:
        return sum([(await budgets.spend(name, limit)).allowed for _ in range(number)])

    return asyncio.run(all_of_them())


@given(st.integers(1, 400), st.integers(1, 4), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_processes_together_give_the_limit_and_not_one_more(limit: int, processes: int, seed: int) -> None:
    clock, store, chance = Clock(), MemoryStore(), random.Random(seed)
    some = [Budgets(store, clock) for _ in range(processes)]

    async def run() -> int:
        allowed = 0
        for _ in range(limit * 2 + 10):
            clock.now += 0.001
            allowed += (await chance.choice(some).spend("a", limit)).allowed
        for each in some:  # what lies unused in one process comes back to the others
            clock.now += 2
            await each.tend()
        for _ in range(limit + 1):
            clock.now += 0.3
            allowed += (await some[0].spend("a", limit)).allowed
            for each in some[1:]:
                await each.tend()
        return allowed

    assert asyncio.run(run()) == limit


def test_one_process_gives_exactly_the_limit_at_once() -> None:
    budgets = Budgets(MemoryStore(), Clock())
    assert _spend(budgets, 250, 100) == 100


def test_the_next_hour_begins_anew() -> None:
    clock = Clock()
    budgets = Budgets(MemoryStore(), clock)
    assert _spend(budgets, 20, 10) == 10
    clock.now += 3599
    assert _spend(budgets, 1, 10) == 0
    clock.now += 1
    assert _spend(budgets, 20, 10) == 10


def test_what_is_told_is_what_is_left() -> None:
    clock = Clock()
    budgets = Budgets(MemoryStore(), clock)
    first = asyncio.run(budgets.spend("a", 100))
    assert (first.allowed, first.limit, first.remaining, first.reset) == (True, 100, 99, 3600)
    clock.now += 3599.5
    assert asyncio.run(budgets.spend("a", 100)).reset == 1


def test_a_limit_that_is_raised_counts_at_once() -> None:
    budgets = Budgets(MemoryStore(), Clock())
    assert _spend(budgets, 20, 10) == 10
    assert _spend(budgets, 20, 15) == 5


def test_parts_of_one_file_count_once_an_hour_in_all_processes() -> None:
    clock, store = Clock(), MemoryStore()
    one, other = Budgets(store, clock), Budgets(store, clock)
    assert not asyncio.run(one.is_free_part("a", "tag"))
    assert asyncio.run(one.is_free_part("a", "tag"))
    assert asyncio.run(other.is_free_part("a", "tag"))
    assert not asyncio.run(other.is_free_part("b", "tag"))
    clock.now += 3600
    assert not asyncio.run(one.is_free_part("a", "tag"))


def test_where_the_store_is_away_a_process_counts_for_itself() -> None:
    budgets = Budgets(Away(), Clock())
    assert _spend(budgets, 30, 10) == 10


@given(st.integers(1, 3000), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_what_a_proxy_is_lent_is_a_part_of_the_limit(limit: int, seed: int) -> None:
    clock, store, chance = Clock(), MemoryStore(), random.Random(seed)
    lenders = [Budgets(store, clock) for _ in range(2)]

    async def run() -> tuple[int, int]:
        allowed, held = 0, 0
        while True:
            spent = await chance.choice(lenders).spend("a", limit)
            if not spent.allowed:
                for each in lenders:
                    await each.close()
                return allowed, held
            allowed += 1
            hour, block, left = await chance.choice(lenders).lend("a", limit, nothing=chance.random() < 0.3)
            assert block <= max(0, limit - allowed - held) // 16
            assert left <= limit
            held += block
            if chance.random() < 0.5 and held:
                given = chance.randint(1, held)
                held -= given
                if chance.random() < 0.5:  # used, by the proxy's own count
                    allowed += given
                else:
                    await lenders[0].take_back("a", hour, given)

    allowed, held = asyncio.run(run())
    left, _ = store.lease("a", int(clock.now) // 3600, limit, limit)
    assert allowed + held + left == limit
