"""Runs and their events as rows: what is looked up by in columns, all else in one JSON record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from stellaops.adapters.sql.sources import instant
from stellaops.exports.events import Event, EventType
from stellaops.exports.profile import HTTP
from stellaops.exports.run import ENDED, Archive, Artifact, Asked, Chain, Priority, Run, RunStatus
from stellaops.ingest.import_documents import microseconds


class _Record(msgspec.Struct, omit_defaults=True):
    """The parts of a run that nothing is looked up by. Later releases add fields, with defaults."""

    profile_revision: str
    kind: str
    selectors: dict[str, Any]
    submitted_at: datetime
    sequence: int | None
    snapshot: str | None
    export_id: str | None
    archive_id: str | None
    rerun_hash: str | None
    error_code: str | None
    error: str | None
    artifacts: list[tuple[str, str, str, int]]
    signatures: list[str]
    durations: dict[str, float]
    warnings: list[str]
    checks: list[dict[str, Any]]
    finished_at: datetime | None
    replay_of: str | None
    policy_snapshot: str | None = None
    asked: Asked = Asked()
    priority: Priority = Priority.NORMAL
    submitted_by: str = ""
    started_at: datetime | None = None
    waiting: str | None = None
    held: list[str] = []
    approved_by: str | None = None
    degraded: bool = False
    targets: list[dict[str, Any]] = []
    worker: str | None = None
    shared_from: str | None = None
    done: list[str] = []
    counts: dict[str, int] = {}
    chain: Chain | None = None
    expired: str | None = None
    abandoned: list[Archive] = []
    removed_at: datetime | None = None
    traceparent: str = ""


_SAME = tuple(
    name
    for name in _Record.__struct_fields__
    if name not in ("artifacts", "signatures", "warnings", "checks", "held", "targets", "done", "abandoned")
)
"""Fields that are equal in a record and in a run; the others are lists in the one and tuples in the other."""


def columns_of(run: Run) -> dict[str, Any]:
    """Values of all columns but `id`, `version` and `events`."""
    return {
        "tenant": run.tenant,
        "profile": run.profile,
        "status": run.status.value,
        "submitted_at": microseconds(run.submitted_at),
        "attempt": run.attempt,
        "plan_digest": run.plan_digest,
        "keeps": _keeps(run),
        "record": _encode(run),
    }


def _keeps(run: Run) -> bool | None:
    """Whether a bundle of an ended run lies in the store of artefacts or at a target; None for a run under way."""
    if run.status not in ENDED:
        return None
    here = run.archive is not None and run.removed_at is None
    return here or any(lies_at(told) for told in run.targets)


def lies_at(told: Mapping[str, Any]) -> bool:
    """Whether a run's record says of a target, other than the store of artefacts, that the bundle is there."""
    delivered = told.get("status") == "succeeded" and told.get("target") not in (None, HTTP.name)
    return delivered and not told.get("removedAt")


def _encode(run: Run) -> bytes:
    record = _Record(
        **{name: getattr(run, name) for name in _SAME},
        artifacts=[(a.name, a.path, a.sha256, a.bytes) for a in run.artifacts],
        signatures=list(run.signatures),
        warnings=list(run.warnings),
        checks=list(run.checks),
        held=list(run.held),
        targets=list(run.targets),
        done=list(run.done),
        abandoned=list(run.abandoned),
    )
    return msgspec.json.encode(record)


def run_of(row: Any) -> Run:
    """The run of a row of `run`."""
    record = msgspec.json.decode(row.record, type=_Record)
    return Run(
        **{name: getattr(record, name) for name in _SAME},
        id=row.id,
        tenant=row.tenant,
        profile=row.profile,
        status=RunStatus(row.status),
        plan_digest=row.plan_digest,
        version=row.version or 0,
        attempt=row.attempt or 0,
        events=row.events or 0,
        artifacts=tuple(Artifact(*item) for item in record.artifacts),
        signatures=tuple(record.signatures),
        warnings=tuple(record.warnings),
        checks=tuple(record.checks),
        held=tuple(record.held),
        targets=tuple(record.targets),
        done=tuple(record.done),
        abandoned=tuple(record.abandoned),
    )


def event_row(run_id: str, number: int, event: Event) -> dict[str, Any]:
    """The row of an event."""
    return {
        "run_id": run_id,
        "number": number,
        "at": microseconds(event.at),
        "type": event.type.value,
        "data": msgspec.json.encode(event.data),
    }


def event_of(row: Any) -> Event:
    """The event of a row of `run_event`."""
    at = instant(row.at)
    assert at is not None  # noqa: S101 - the column is never null
    return Event(EventType(row.type), at, msgspec.json.decode(row.data, type=dict[str, Any]), row.number)
