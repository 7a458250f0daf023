"""A run: one execution of a profile, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from stellaops.core import timestamps


class RunStatus(StrEnum):
    """States of a run: `pending → running → succeeded | failed | cancelled`, with `held` between.

    A held run waits for an approval and takes no slot. A succeeded one becomes expired when its bundle goes.
    """

    PENDING = "pending"
    RUNNING = "running"
    HELD = "held"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


ENDED = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.EXPIRED})
"""States that a run does not leave by itself."""


class Priority(StrEnum):
    """How urgent a run is, the most urgent first."""

    CATCH_UP = "catch-up"
    INTERACTIVE = "interactive"
    NORMAL = "normal"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a submission asked for and the run's other fields do not say; enough to build its `RunRequest` again.

    Attributes:
        sequence: the snapshot to cut; the newest at the time of the plan when None.
        base: of a delta: an export's id, or `latest`.
        policy_snapshot: by digest, or `latest`; as the profile has it when None.
        selectors: the submission's own, which stand over those of the profile.
    """

    sequence: int | None = None
    allow_empty: bool = False
    policy_snapshot: str | None = None
    base: str | None = None
    selectors: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Archive:
    """A bundle root by its two ids, both of which come from its content."""

    export_id: str
    archive_id: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Where an archive stands in the chain of a mirror.

    Attributes:
        of: the full profile whose state it carries, and its revision.
        number: its place since the full archive; 0 for that one.
        base: of a delta, the archive that it builds on, and the run that made that.
    """

    of: str
    revision: str
    number: int = 0
    base: Archive | None = None
    base_run: str | None = None


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
        version: grows with every change of the record; a change must name the one that it was made from.
        attempt: grows with every start; what an earlier attempt still writes is refused.
        events: how many events the run has; they are numbered 1 to this.
        waiting: why a pending run waits, a sentence; None where it does not.
        held: why a held run waits for an approval, a sentence each.
        plan_digest: digest of all that decides the archive; equal ones share it.
        shared_from: the run whose archive this one has, because their plans are equal; None where it made its own.
        done: the steps whose results stand in the record; a later attempt goes on after them.
        counts: how many records were selected, by source.
        worker: who works on it, or did last.
        chain: of a mirror, where its archive stands.
        warnings: constraints left out, sources without dates and the like; not part of the export.
        expired: why its bundle went, a sentence; None where it did not, or never had one.
        traceparent: what asked for it, in the W3C's form of trace contexts; empty where nobody told.
        abandoned: archives that earlier attempts were going to store; encrypted ones differ from each other.
        removed_at: when its archive was removed from the store of artefacts, or was found to be needed by nobody.
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
    version: int = 0
    attempt: int = 0
    events: int = 0
    asked: Asked = Asked()
    priority: Priority = Priority.NORMAL
    submitted_by: str = ""
    started_at: datetime | None = None
    waiting: str | None = None
    held: tuple[str, ...] = ()
    approved_by: str | None = None
    degraded: bool = False
    targets: tuple[dict[str, Any], ...] = ()
    plan_digest: str | None = None
    worker: str | None = None
    shared_from: str | None = None
    done: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    chain: Chain | None = None
    expired: str | None = None
    abandoned: tuple[Archive, ...] = ()
    traceparent: str = ""
    removed_at: datetime | None = None

    @property
    def bytes(self) -> int:
        """The size of the archive, without its signatures."""
        return sum(artifact.bytes for artifact in self.artifacts)

    @property
    def is_published(self) -> bool:
        """Whether the bundle has passed everything: it succeeded, or failed to reach a target that it has to."""
        failed_later = self.status is RunStatus.FAILED and "publish" in self.done and self.expired is None
        return self.status is RunStatus.SUCCEEDED or failed_later

    @property
    def archive(self) -> Archive | None:
        """Where the archive lies; None where the run has made none yet."""
        return Archive(self.export_id, self.archive_id) if self.export_id and self.archive_id else None

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
            "degraded": self.degraded,
            "targets": list(self.targets),
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
            "priority": self.priority.value,
            "submittedBy": self.submitted_by or None,
            "startedAt": timestamps.render(self.started_at) if self.started_at else None,
            "attempt": self.attempt,
            "waiting": self.waiting,
            "held": list(self.held),
            "approvedBy": self.approved_by,
            "sharedFrom": self.shared_from,
            "chain": None if self.chain is None else _chain(self.chain),
            "expired": self.expired,
            "removedAt": timestamps.render(self.removed_at) if self.removed_at else None,
        }


def _chain(chain: Chain) -> dict[str, Any]:
    base = chain.base
    return {
        "of": chain.of,
        "number": chain.number,
        "base": None if base is None else {"exportId": base.export_id, "archiveId": base.archive_id},
    }
