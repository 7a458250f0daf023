"""A run: one execution of a profile, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from stellaops.core import timestamps


class RunStatus(StrEnum):
    """States of a run."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of the bundle: `path` inside the bundle root."""

    name: str
    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Run:
    """The record of a run.

    Attributes:
        id: of the run; the export's id comes from its content.
        durations: seconds by step.
        warnings: constraints left out, sources without dates and the like; not part of the export.
    """

    id: str
    tenant: str
    profile: str
    profile_revision: str
    kind: str
    selectors: dict[str, Any]
    status: RunStatus
    submitted_at: datetime
    sequence: int | None = None
    snapshot: str | None = None
    export_id: str | None = None
    archive_id: str | None = None
    rerun_hash: str | None = None
    error_code: str | None = None
    error: str | None = None
    artifacts: tuple[Artifact, ...] = ()
    signatures: tuple[str, ...] = ()
    durations: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    checks: tuple[dict[str, Any], ...] = ()
    finished_at: datetime | None = None
    replay_of: str | None = None
    policy_snapshot: str | None = None

    def failed(self, code: str, error: str, now: datetime) -> Run:
        """The run after a failure."""
        return replace(self, status=RunStatus.FAILED, error_code=code, error=error, finished_at=now)

    def to_wire(self) -> dict[str, Any]:
        """The run as scripts read it."""
        return {
            "runId": self.id,
            "exportId": self.export_id,
            "archiveId": self.archive_id,
            "status": self.status.value,
            "errorCode": self.error_code,
            "error": self.error,
            "degraded": False,
            "targets": [],
            "tenant": self.tenant,
            "profile": self.profile,
            "profileRevision": self.profile_revision,
            "kind": self.kind,
            "selectors": self.selectors,
            "snapshot": {"sequence": self.sequence, "digest": self.snapshot},
            "policySnapshot": self.policy_snapshot,
            "rerunHash": self.rerun_hash,
            "artifacts": [
                {"name": a.name, "path": a.path, "sha256": a.sha256, "bytes": a.bytes} for a in self.artifacts
            ],
            "signatures": list(self.signatures),
            "durations": self.durations,
            "warnings": list(self.warnings),
            "checks": list(self.checks),
            "submittedAt": timestamps.render(self.submitted_at),
            "finishedAt": timestamps.render(self.finished_at) if self.finished_at else None,
            "replayOf": self.replay_of,
        }
