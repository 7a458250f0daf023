"""What somebody may want to be told of."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

import msgspec

_LONGEST_TITLE, _LONGEST_TEXT, _LONGEST_FACT = 200, 2000, 500


class EventType(StrEnum):
    """Kinds of events that rules can name."""

    RUN_FAILED = "run.failed"
    RUN_HELD = "run.held"
    BASE_MISSING = "delta.base_missing"
    VERIFY_FAILED = "verify.failed"
    MIRROR_STALE = "mirror.stale"
    RETENTION_STALE = "retention.stale"
    KEY_EXPIRING = "key.expiring"


MEANINGS = {
    EventType.RUN_FAILED: "a run ended without a bundle, or could not reach a target that it has to",
    EventType.RUN_HELD: "a run waits for an approval",
    EventType.BASE_MISSING: "a delta could not be made because what it builds on is gone; also a `run.failed`",
    EventType.VERIFY_FAILED: (
        "a run's own verification failed (also a `run.failed`), or what a target has was found wrong"
    ),
    EventType.MIRROR_STALE: "a domain of a mirror was not published when it should have been, or has expired",
    EventType.RETENTION_STALE: "retention has not succeeded for 26 hours",
    EventType.KEY_EXPIRING: "a secret or a token ends soon, or is older than it should get",
}
"""What each kind of event tells."""
TEST = "notify.test"
"""The type of what a test sends; no rule sees it."""


class Severity(StrEnum):
    """How much it matters, the least first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return list(Severity).index(self)


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened, or that was noticed.

    Attributes:
        id: names it; sorts by time.
        type: one of `EventType`, or `TEST`.
        tenant: whose business it is; empty for the installation's.
        topic: what is alike for throttling: `profile/trivy:db`, `domain/concelier/primary`.
        title: a line.
        text: what happened, and where.
        hint: what to do about it.
        facts: names and values, in the order in which they are to be shown.
        also: further types under which rules find it.
    """

    id: str
    type: str
    at: datetime
    tenant: str
    severity: Severity
    topic: str
    title: str
    text: str
    hint: str = ""
    facts: dict[str, str] = {}
    also: tuple[str, ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        """All types under which rules find it."""
        return (self.type, *self.also)


def event_id(at: datetime, chance: str) -> str:
    """An id that sorts by time.

    Args:
        chance: 12 hex digits.
    """
    return f"evt-{int(at.timestamp() * 1_000_000):016x}-{chance}"


def shortened(event: Event) -> Event:
    """The event with texts of a length that every channel can carry, none of them empty."""
    return msgspec.structs.replace(
        event,
        title=_cut(" ".join(event.title.split()), _LONGEST_TITLE),
        text=_cut(event.text or event.title, _LONGEST_TEXT),
        hint=_cut(event.hint, _LONGEST_TEXT),
        facts={name: _cut(value, _LONGEST_FACT) for name, value in event.facts.items()},
    )


def is_named(patterns: tuple[str, ...], event: Event) -> bool:
    """Whether one of some patterns, as `run.failed`, `run.*` or `*`, names an event."""
    return any(matches(pattern, each) for pattern in patterns for each in event.types)


def matches(pattern: str, text: str) -> bool:
    """Whether a text is as a pattern says, in which `*` stands for any part."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
