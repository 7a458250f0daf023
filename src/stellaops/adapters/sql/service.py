"""The service store: profiles and records of runs. Separate from the evidence; no transaction spans both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Engine, and_, delete, func, insert, select, update
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.service_schema import profile_t, run_t
from stellaops.adapters.sql.sources import instant
from stellaops.exports.profile import Profile, Spec
from stellaops.exports.run import Artifact, Run, RunStatus
from stellaops.ingest.import_documents import microseconds


class _Record(msgspec.Struct):
    """The parts of a run that nothing is looked up by."""

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


class SqlRuns:
    """`exports.ports.Runs`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def save(self, run: Run) -> None:
        """See the port."""
        values = {
            "tenant": run.tenant, "profile": run.profile, "status": run.status.value,
            "submitted_at": microseconds(run.submitted_at), "record": _encode(run),
        }  # fmt: skip
        with writing(self._engine) as connection:
            changed = connection.execute(update(run_t).where(run_t.c.id == run.id).values(values))
            if changed.rowcount == 0:
                connection.execute(insert(run_t).values(id=run.id, **values))

    def get(self, tenant: str, run_id: str) -> Run | None:
        """See the port."""
        with reading(self._engine) as connection:
            row = connection.execute(
                select(run_t).where(run_t.c.id == run_id, run_t.c.tenant == tenant)
            ).first()
        return _decode(row) if row else None

    def list(self, tenant: str, profile: str | None = None, status: str | None = None) -> Sequence[Run]:
        """See the port."""
        statement = select(run_t).where(run_t.c.tenant == tenant)
        if profile is not None:
            statement = statement.where(run_t.c.profile == profile)
        if status is not None:
            statement = statement.where(run_t.c.status == status)
        with reading(self._engine) as connection:
            rows = connection.execute(statement.order_by(run_t.c.submitted_at.desc(), run_t.c.id)).all()
        return [_decode(row) for row in rows]

    def delete(self, tenant: str, run_id: str) -> None:
        """See the port."""
        with writing(self._engine) as connection:
            connection.execute(delete(run_t).where(run_t.c.id == run_id, run_t.c.tenant == tenant))


class SqlProfiles:
    """`exports.ports.Profiles`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, profile: Profile) -> None:
        """See the port; the revision names its number (`r3`)."""
        with writing(self._engine) as connection:
            connection.execute(
                insert(profile_t).values(
                    tenant=profile.tenant,
                    name=profile.name,
                    number=int(profile.revision[1:]),
                    spec=msgspec.json.encode(profile.spec),
                    labels=msgspec.json.encode(dict(profile.labels)),
                    created_at=microseconds(profile.created_at) if profile.created_at else 0,
                    created_by=profile.created_by,
                    reason=profile.reason,
                    deleted=False,
                )
            )

    def history(self, tenant: str, name: str) -> Sequence[Profile]:
        """See the port."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(profile_t).where(_live(tenant), profile_t.c.name == name).order_by(profile_t.c.number)
            ).all()
        return [_profile(row) for row in rows]

    def names(self, tenant: str) -> Sequence[str]:
        """See the port."""
        with reading(self._engine) as connection:
            statement = select(profile_t.c.name).where(_live(tenant)).distinct()
            return connection.execute(statement.order_by(profile_t.c.name)).scalars().all()

    def delete(self, tenant: str, name: str) -> None:
        """See the port."""
        with writing(self._engine) as connection:
            connection.execute(
                update(profile_t).where(_live(tenant), profile_t.c.name == name).values(deleted=True)
            )

    def next_number(self, tenant: str, name: str) -> int:
        """See the port."""
        statement = select(func.coalesce(func.max(profile_t.c.number), 0) + 1).where(
            profile_t.c.tenant == tenant, profile_t.c.name == name
        )
        with reading(self._engine) as connection:
            return int(connection.execute(statement).scalar_one())


def _live(tenant: str) -> ColumnElement[bool]:
    return and_(profile_t.c.tenant == tenant, ~profile_t.c.deleted)


def _profile(row: Any) -> Profile:
    labels = msgspec.json.decode(row.labels, type=dict[str, str])
    return Profile(
        name=row.name,
        tenant=row.tenant,
        revision=f"r{row.number}",
        spec=msgspec.json.decode(row.spec, type=Spec),
        labels=tuple(sorted(labels.items())),
        created_at=instant(row.created_at),
        created_by=row.created_by,
        reason=row.reason,
    )


def _encode(run: Run) -> bytes:
    return msgspec.json.encode(
        _Record(
            profile_revision=run.profile_revision,
            kind=run.kind,
            selectors=run.selectors,
            submitted_at=run.submitted_at,
            sequence=run.sequence,
            snapshot=run.snapshot,
            export_id=run.export_id,
            archive_id=run.archive_id,
            rerun_hash=run.rerun_hash,
            error_code=run.error_code,
            error=run.error,
            artifacts=[(a.name, a.path, a.sha256, a.bytes) for a in run.artifacts],
            signatures=list(run.signatures),
            durations=run.durations,
            warnings=list(run.warnings),
            checks=list(run.checks),
            finished_at=run.finished_at,
            replay_of=run.replay_of,
            policy_snapshot=run.policy_snapshot,
        )
    )


def _decode(row: Any) -> Run:
    record = msgspec.json.decode(row.record, type=_Record)
    return Run(
        id=row.id, tenant=row.tenant, profile=row.profile, profile_revision=record.profile_revision,
        kind=record.kind, selectors=record.selectors, status=RunStatus(row.status),
        submitted_at=record.submitted_at, sequence=record.sequence, snapshot=record.snapshot,
        export_id=record.export_id, archive_id=record.archive_id, rerun_hash=record.rerun_hash,
        error_code=record.error_code, error=record.error,
        artifacts=tuple(Artifact(*item) for item in record.artifacts), signatures=tuple(record.signatures),
        durations=record.durations, warnings=tuple(record.warnings), checks=tuple(record.checks),
        finished_at=record.finished_at, replay_of=record.replay_of,
        policy_snapshot=record.policy_snapshot,
    )  # fmt: skip
