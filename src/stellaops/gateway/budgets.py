"""Hourly budgets, exact in sum over all processes of a mirror host.

Each process takes blocks of a budget from the shared store and counts within them, so that most requests ask nobody.
The less is left, the smaller the block, down to one; what a process does not use for a second it gives back. So no
process ever gives what is not there, and none keeps back for long what another one needs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from stellaops.core.errors import StellaError

HOUR = 3600
_LARGEST_BLOCK = 1024
_SHARE = 32  # a block is at most this part of what is left
_IDLE = 1.0  # seconds after which what is not used is given back
_SURE = 0.2  # seconds for which an empty budget is taken to be empty still
_MOST = 20_000
_LOG = logging.getLogger("stellaops.gateway")

T = TypeVar("T")


class BudgetStore(Protocol):
    """What processes share."""

    def lease(self, name: str, hour: int, wanted: int, limit: int) -> tuple[int, int]:
        """Take up to so many: how many were given, and how many are given to nobody afterwards."""
        ...

    def give_back(self, name: str, hour: int, number: int) -> None:
        """Give back what was not used."""
        ...

    def is_first_part(self, name: str, hour: int) -> bool:
        """Whether nobody has asked for a part of this in the hour; it is noted."""
        ...

    def forget(self, hour: int) -> None:
        """Remove budgets of hours that are over for long."""
        ...

    def add(self, counts: Mapping[tuple[str, str], float]) -> None:
        """Add to counts of requests."""
        ...

    def counts(self) -> dict[tuple[str, str], float]:
        """Counts of all processes."""
        ...

    def read_to(self, name: str) -> tuple[str, int] | None:
        """The file, and the place in it, up to which a log was counted; None for a log that nobody has read."""
        ...

    def add_read(
        self,
        name: str,
        before: tuple[str, int] | None,
        after: tuple[str, int],
        counts: Mapping[tuple[str, str], float],
    ) -> bool:
        """Add what a part of a log says, unless another process has done so."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True)
class Spent:
    """What a request was told.

    Attributes:
        remaining: how many more there are, at least as far as this process knows.
        reset: seconds to the next hour, at least 1.
    """

    allowed: bool
    limit: int
    remaining: int
    reset: int


@dataclass(slots=True)
class _Held:
    """What this process has of one budget."""

    name: str
    limit: int
    hour: int
    left: int = 0
    elsewhere: int = 0
    used_at: float = 0.0
    empty_until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Budgets:
    """The budgets of this process.

    Args:
        now: seconds since 1970.
    """

    def __init__(self, store: BudgetStore, now: Callable[[], float] = time.time) -> None:
        self._store, self._now = store, now
        self._held: dict[tuple[str, int], _Held] = {}
        self._parts: set[tuple[str, int]] = set()
        self._hour = int(now()) // HOUR
        self._is_away = False

    def at_once(self, name: str, limit: int) -> Spent | None:
        """Count a request within what this process has; None where the store has to be asked."""
        now = self._now()
        held = self._held.get((name, limit))
        if held is None or held.hour != int(now) // HOUR:
            return None
        if held.left > 0:
            held.left -= 1
            held.used_at = now
            return Spent(True, limit, held.left + held.elsewhere, _reset(now))
        if now < held.empty_until:
            return Spent(False, limit, 0, _reset(now))
        return None

    async def spend(self, name: str, limit: int) -> Spent:
        """Count a request."""
        found = self.at_once(name, limit)
        if found is not None:
            return found
        now = self._now()
        hour = int(now) // HOUR
        held = self._held.get((name, limit))
        if held is None or held.hour != hour:
            self._make_room()
            held = self._held[name, limit] = _Held(name, limit, hour)
        async with held.lock:
            if held.left == 0 and self._now() >= held.empty_until:
                await self._take(held)
        return self.at_once(name, limit) or await self.spend(name, limit)

    async def lend(self, name: str, limit: int, *, nothing: bool = False) -> tuple[int, int, int]:
        """Take a block for a proxy that counts by itself; a small part of what is left, as always.

        Args:
            nothing: only tell what is left.

        Returns:
            the hour, how many the proxy may give, and how many more there are, at least as far as this process knows.
        """
        hour = int(self._now()) // HOUR
        held = self._held.get((name, limit))
        if held is None or held.hour != hour:
            return hour, 0, 0
        given, wanted = 0, 0 if nothing else min(_LARGEST_BLOCK, held.elsewhere // _SHARE)
        if wanted:
            own = 0, held.elsewhere
            given, held.elsewhere = await self._asked(
                lambda: self._store.lease(name, hour, wanted, limit), own
            )
        return hour, given, held.left + held.elsewhere

    async def take_back(self, name: str, hour: int, number: int) -> None:
        """What a proxy has not used of what it was lent."""
        await self._asked(lambda: self._store.give_back(name, hour, number), None)

    async def is_free_part(self, name: str, etag: str) -> bool:
        """Whether parts of the same file have been asked for in this hour: they count once."""
        hour = int(self._now()) // HOUR
        key = f"{name}\n{etag}"
        if (key, hour) in self._parts:
            return True
        first = await self._asked(lambda: self._store.is_first_part(key, hour), True)
        if len(self._parts) > _MOST:
            self._parts.clear()
        self._parts.add((key, hour))
        return not first

    async def tend(self) -> None:
        """Give back what is not used; to be called about once a second."""
        now = self._now()
        hour = int(now) // HOUR
        for key, held in list(self._held.items()):
            if held.hour != hour:
                self._held.pop(key, None)
            elif held.left and now - held.used_at > _IDLE and not held.lock.locked():
                await self._give_back(held)
        if hour != self._hour:
            self._hour = hour
            self._parts = {each for each in self._parts if each[1] == hour}
            await self._asked(lambda: self._store.forget(hour), None)

    async def close(self) -> None:
        """Give everything back."""
        for held in list(self._held.values()):
            if held.left:
                await self._give_back(held)

    async def _take(self, held: _Held) -> None:
        known = held.elsewhere if held.used_at else held.limit
        wanted = max(1, min(_LARGEST_BLOCK, known // _SHARE))
        name, hour, limit = held.name, held.hour, held.limit
        # Where the store is away each process counts for itself: budgets share out a service, they guard nothing.
        own = min(wanted, known)
        given, held.elsewhere = await self._asked(
            lambda: self._store.lease(name, hour, wanted, limit), (own, known - own)
        )
        held.left += given
        held.used_at = self._now()
        if given == 0:
            held.empty_until = held.used_at + _SURE

    async def _give_back(self, held: _Held) -> None:
        number, held.left = held.left, 0
        held.elsewhere += number
        await self._asked(lambda: self._store.give_back(held.name, held.hour, number), None)

    async def _asked(self, ask: Callable[[], T], otherwise: T) -> T:
        """What the store says; something else where it does not answer."""
        try:
            found = await asyncio.to_thread(ask)
        except StellaError as error:
            if not self._is_away:
                event = {"event": "mirror.budgets_away", "errorCode": error.code}
                _LOG.error(
                    "the store of budgets does not answer: %s; each process counts for itself",
                    error,
                    extra=event,
                )
            self._is_away = True
            return otherwise
        self._is_away = False
        return found

    def _make_room(self) -> None:
        """Of callers that are counted: those who have nothing here are forgotten first."""
        if len(self._held) >= _MOST:
            for key in [key for key, held in self._held.items() if not held.left and not held.lock.locked()]:
                del self._held[key]


def _reset(now: float) -> int:
    return max(1, HOUR - int(now) % HOUR)
