"""The steps of a run as those who watch it see them: told when they begin, and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stellaops.exports.distribution.deliver import POINTING
from stellaops.exports.events import Event, EventType
from stellaops.exports.plan_run import Tools
from stellaops.exports.run import Run

VISIBLE = (
    "plan", "collect", "build", "sign", "encrypt", "pack", "verify", "smoke", "store", "gate", "publish", "distribute",
)  # fmt: skip
"""What the events of progress and the durations of a run name, in order."""

_SELDOM = 2.0
"""Seconds between two events from inside a step."""

Progress = Callable[[str], None]


def nothing(_step: str) -> None:
    """Progress that nobody looks at."""


@dataclass
class Clock:
    """Tells of the steps of one attempt as they begin, and takes their times."""

    run: Run
    tools: Tools
    progress: Progress
    durations: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.durations = dict(self.run.durations)

    @contextmanager
    def step(self, name: str, **more: str) -> Iterator[None]:
        """One step.

        Raises:
            RunChanged: the attempt is over, in other hands or cancelled.
        """
        self.progress(name)
        data = {
            "step": name,
            "number": VISIBLE.index(name) + 1,
            "of": len(VISIBLE),
            "attempt": self.run.attempt,
        }
        self.tools.runs.tell(
            self.run.id, self.run.attempt, [Event(EventType.PROGRESS, self.tools.now(), data | more)]
        )
        began = time.monotonic()
        yield
        self.durations[name] = round(time.monotonic() - began, 3)


@dataclass
class Told:
    """Tells of what happens inside a step, now and then: `exports.distribution.ports.Told` for one attempt of a run."""

    run: Run
    tools: Tools
    _next: float = float("-inf")

    def __call__(self, event: str, data: Mapping[str, Any]) -> None:
        """Tell of it; of pieces of work only where nothing was told a moment ago.

        Raises:
            RunChanged: the attempt is over, in other hands or cancelled.
        """
        now = time.monotonic()
        if now < self._next and event != POINTING:
            return
        self._next = now + _SELDOM
        told = {"step": "distribute", "attempt": self.run.attempt, "what": event, **data}
        self.tools.runs.tell(
            self.run.id, self.run.attempt, [Event(EventType.PROGRESS, self.tools.now(), told)]
        )
