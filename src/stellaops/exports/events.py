"""What happens to a run, as those who watch it see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from stellaops.core import timestamps


class EventType(StrEnum):
    """Kinds of events."""

    PENDING = "run.pending"
    STARTED = "run.started"
    PROGRESS = "run.progress"
    ARTIFACT_READY = "run.artifact_ready"
    HELD = "run.held"
    DISTRIBUTED = "run.distributed"
    VERIFIED = "run.verified"
    SUCCEEDED = "run.succeeded"
    FAILED = "run.failed"
    CANCELLED = "run.cancelled"


LAST = frozenset({EventType.SUCCEEDED, EventType.FAILED, EventType.CANCELLED})
"""After one of these a run has no more events, unless someone replays or distributes it again."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run.

    Attributes:
        number: 1, 2, 3 … within the run, without gaps, in the order of the changes; 0 until it is stored.
        data: what the type tells: `step` and `attempt` of progress, `name sha256 bytes` of an artefact, `errorCode`
            and `error` of a failure, and so on.
    """

    type: EventType
    at: datetime
    data: dict[str, Any] = field(default_factory=dict)
    number: int = 0

    def to_wire(self, run_id: str) -> dict[str, Any]:
        """The event as scripts read it."""
        return {"runId": run_id, "type": self.type.value, "at": timestamps.render(self.at), **self.data}
