"""Allowances: so many at once, which come back steadily. Processes share them in blocks, so that most asks ask nobody.

A caller's allowance is one number, the instant at which it will be whole again: what is left is what that instant is
not away yet. A block is a sixteenth of an allowance at most. So all processes together never give more than the
allowance and what came back, but for a block that each of them still has.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from stellaops.core.errors import StellaError

_BLOCKS = 16
_SURE = 0.2  # seconds for which an empty allowance is taken to be empty still
_AWAY = 5.0  # seconds for which a store that did not answer is not asked again
_SKEW = (
    10.0  # seconds by which clocks of machines may differ; what lies further ahead was written by a wrong one
)
_MOST = 20_000  # callers who are remembered; those idle longest are forgotten
_LOG = logging.getLogger("stellaops.allowances")


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much each caller may.

    Attributes:
        size: how many may come at once; at least 1.
        per_second: how many come back in a second.
    """

    size: float
    per_second: float

    @property
    def block(self) -> int:
        """What a process is lent at most, where no more wait for it."""
        return max(1, int(self.size / _BLOCKS))


@dataclass(frozen=True, slots=True)
class Lent:
    """What a process was lent.

    Attributes:
        number: of asks that it may let through.
        wait: seconds until there is one more; 0 where any were lent.
    """

    number: int
    wait: float


class Leases(Protocol):
    """What processes share."""

    def lend(self, wanted: Mapping[str, int], allowance: Allowance) -> Mapping[str, Lent]:
        """Take up to so many of what each of these callers has left.

        Raises:
            StellaError: the store does not answer.
        """
        ...


def lent(whole_at: float, now: float, wanted: int, allowance: Allowance) -> tuple[Lent, float]:
    """Take of an allowance.

    Args:
        whole_at: when it was to be whole again; seconds of the same clock as `now`.

    Returns:
        what is lent, and when it is whole again afterwards.
    """
    size, rate = allowance.size, allowance.per_second
    if whole_at > now + size / rate + _SKEW:
        whole_at = now + size / rate
    begins = max(whole_at, now)
    left = size - (begins - now) * rate
    number = min(wanted, int(left + 1e-9))
    if number < 1:
        return Lent(0, (1 - left) / rate), whole_at
    return Lent(number, 0.0), begins + number / rate


class OwnLeases:
    """`Leases` of one process alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._whole_at: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def lend(self, wanted: Mapping[str, int], allowance: Allowance) -> Mapping[str, Lent]:
        """See `Leases`."""
        found, now = {}, self._clock()
        with self._lock:
            for name, number in wanted.items():
                found[name], whole_at = lent(self._whole_at.pop(name, now), now, number, allowance)
                self._whole_at[name] = whole_at
            while len(self._whole_at) > _MOST:
                self._whole_at.popitem(last=False)
        return found


@dataclass(slots=True)
class _Held:
    left: int = 0
    empty_until: float = 0.0
    waiting: int = 0


class Allowances:
    """What this process has of its callers' allowances. Safe for threads.

    Where the store is away each process counts for itself: allowances share out a service, they guard no secret.

    Args:
        clock: seconds that never go back.
    """

    def __init__(
        self, allowance: Allowance, leases: Leases, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowance, self._leases, self._clock = allowance, leases, clock
        self._own = OwnLeases(clock)
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._away_until = 0.0

    def at_once(self, name: str) -> float | None:
        """Count an ask within what this process has.

        Returns:
            0 where it is let through, the seconds to wait where not, None where the store has to be asked.
        """
        with self._lock:
            held = self._held.get(name)
            if held is None:
                return None
            self._held.move_to_end(name)
            if held.left:
                held.left -= 1
                return 0.0
            wait = held.empty_until - self._clock()
            return wait if wait > 0 else None

    def ask(self, name: str) -> float:
        """The same, and ask the store; everybody who waits meanwhile is asked for in one transaction.

        Returns:
            0 where it is let through, else the seconds to wait.
        """
        with self._lock:
            self._of(name).waiting += 1
        try:
            while True:
                with self._asking:
                    found = self.at_once(name)
                    if found is not None:
                        return found
                    self._lend()
        finally:
            with self._lock:
                self._of(name).waiting -= 1

    def alone(self, name: str) -> float:
        """Count an ask in this process alone: for whoever cannot wait for the store.

        Returns:
            as `ask`.
        """
        found = self._own.lend({name: 1}, self._allowance)[name]
        return 0.0 if found.number else found.wait

    def _lend(self) -> None:
        block = self._allowance.block
        with self._lock:
            waiting = {name: each for name, each in self._held.items() if each.waiting and not each.left}
            wanted = {name: max(block, each.waiting) for name, each in waiting.items()}
        found = self._asked(wanted)
        with self._lock:
            now = self._clock()
            for name, each in found.items():
                held = self._of(name)
                held.left += each.number
                if not each.number:
                    held.empty_until = now + max(each.wait, _SURE)

    def _asked(self, wanted: Mapping[str, int]) -> Mapping[str, Lent]:
        if self._clock() >= self._away_until:
            try:
                return self._leases.lend(wanted, self._allowance)
            except StellaError as error:
                told = {"event": "allowances.away", "errorCode": error.code}
                _LOG.warning(
                    "allowances are not shared: %s; each process counts for itself", error, extra=told
                )
                self._away_until = self._clock() + _AWAY
        return self._own.lend(wanted, self._allowance)

    def _of(self, name: str) -> _Held:
        held = self._held.get(name)
        if held is None:
            held = self._held[name] = _Held()
            if len(self._held) > _MOST:
                idle = next(
                    (each for each in self._held if each != name and not self._held[each].waiting), None
                )
                self._held.pop(idle or "", None)
        return held
