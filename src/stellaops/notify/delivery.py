"""Deliveries: one message for one channel, until it has arrived or was given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from stellaops.core import timestamps
from stellaops.notify.event import Event

PAUSES = tuple(timedelta(seconds=each) for each in (10, 30, 120, 600, 1800, 3600, 3 * 3600, 6 * 3600))
"""Between the attempts; the last again and again."""
_LONGEST_WAIT = timedelta(hours=6)
LEASE = timedelta(minutes=2)
"""How long a delivery is in the hands of a process that has died; every attempt ends sooner."""


class Status(StrEnum):
    """States of a delivery: `pending → delivered | failed`; `failed` becomes pending when it is sent again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one channel.

    Attributes:
        tenant: whose rule it is.
        channel: the channel's id; it may be gone.
        rule: the rule's id; empty of a test.
        next_at: not before.
        attempts: how often it was tried, the one under way counted.
        held_back: how many like it were not told since the last one.
        kind, target, title: as it was last rendered; empty before.
        answer: what the receiver said, at the last attempt.
        error_code, error: why the last attempt failed.
        note: why it waits, where it was not for a failure.
        trace_id: of the request that asked for a test.
    """

    id: str
    tenant: str
    channel: str
    rule: str
    event: Event
    status: Status
    created_at: datetime
    next_at: datetime
    attempts: int = 0
    finished_at: datetime | None = None
    held_back: int = 0
    kind: str = ""
    target: str = ""
    title: str = ""
    answer: str = ""
    error_code: str = ""
    error: str = ""
    note: str = ""
    trace_id: str = ""

    def to_wire(self) -> dict[str, Any]:
        """The delivery as scripts read it."""
        event, pending = self.event, self.status is Status.PENDING
        return {
            "deliveryId": self.id,
            "status": self.status.value,
            "channel": self.channel,
            "channelKind": self.kind or None,
            "target": self.target or None,
            "rule": self.rule or None,
            "event": {
                "eventId": event.id,
                "type": event.type,
                "tenant": event.tenant or None,
                "severity": event.severity.value,
                "topic": event.topic,
                "at": timestamps.render(event.at),
                "facts": dict(event.facts),
            },
            "title": self.title or event.title,
            "attempts": self.attempts,
            "heldBack": self.held_back,
            "createdAt": timestamps.render(self.created_at),
            "nextAttemptAt": timestamps.render(self.next_at) if pending else None,
            "finishedAt": timestamps.render(self.finished_at) if self.finished_at else None,
            "answer": self.answer or None,
            "errorCode": self.error_code or None,
            "error": self.error or None,
            "note": self.note or None,
            "traceId": self.trace_id or None,
        }


def delivery_id(at: datetime, chance: str) -> str:
    """An id that sorts by time.

    Args:
        chance: 12 hex digits.
    """
    return f"dlv-{int(at.timestamp() * 1_000_000):016x}-{chance}"


def next_attempt(attempts: int, now: datetime, chance: float, retry_after: float | None) -> datetime:
    """When to try again.

    Args:
        attempts: how many have failed.
        chance: from 0 to 1; spreads what failed at once.
        retry_after: seconds that the receiver asks to wait.
    """
    pause = PAUSES[min(attempts, len(PAUSES)) - 1] * (0.75 + chance / 2)
    asked = timedelta(seconds=min(retry_after or 0.0, _LONGEST_WAIT.total_seconds()))
    return now + max(pause, asked)
