"""The service store: profiles and records of runs. Separate from the evidence; no transaction spans both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql.audited import note_bundle, note_encryption
from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.metering import count_end
from stellaops.adapters.sql.notify_outbox import note_run
from stellaops.adapters.sql.pieces import pieces
from stellaops.adapters.sql.run_records import columns_of, event_of, event_row, run_of
from stellaops.adapters.sql.service_schema import profile_t, run_event, run_submission, run_t
from stellaops.adapters.sql.sources import instant
from stellaops.exports.errors import RunChanged, RunQuotaExceeded
from stellaops.exports.events import Event
from stellaops.exports.ports import EVERY_RUN, RunFilter
from stellaops.exports.profile import Profile, Spec
from stellaops.exports.run import Run, RunStatus
from stellaops.ingest.import_documents import microseconds

_DAY = 86_400_000_000  # microseconds
_EPOCH = date(1970, 1, 1)


class SqlRuns:
    """`exports.ports.Runs`. A row's version is what a change must have read; its lock puts events in order."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def add(self, run: Run, events: Sequence[Event], *, most_pending: int | None = None) -> Run:
        """See the port."""
        stored = replace(run, version=1, events=len(events))
        with writing(self._engine) as connection:
            if most_pending is not None:
                _demand_room(connection, run.tenant, most_pending)
            values = columns_of(stored) | {"id": run.id, "version": 1, "events": len(events)}
            connection.execute(insert(run_t).values(values))
            _append(connection, run.id, 1, events)
            note_run(connection, stored, events)
        return stored

    def change(self, run: Run, events: Sequence[Event] = ()) -> Run:
        """See the port."""
        known = run_t.c.id == run.id, func.coalesce(run_t.c.version, 0) == run.version
        counted = func.coalesce(run_t.c.events, 0) + len(events)
        statement = update(run_t).where(*known).values(columns_of(run) | {"version": run.version + 1})
        with writing(self._engine) as connection:
            total = connection.execute(statement.values(events=counted).returning(run_t.c.events)).scalar()
            if total is None:
                raise RunChanged(f"run {run.id} is not as it was at version {run.version}")
            _append(connection, run.id, total - len(events) + 1, events)
            count_end(connection, run, events)
            note_bundle(connection, run, events)
            note_run(connection, run, events)
        return replace(run, version=run.version + 1, events=total)

    def tell(self, run_id: str, attempt: int, events: Sequence[Event]) -> None:
        """See the port."""
        of_attempt = and_(run_t.c.attempt == attempt, run_t.c.status == RunStatus.RUNNING.value)
        statement = update(run_t).where(run_t.c.id == run_id, of_attempt)
        with writing(self._engine) as connection:
            changed = statement.values(events=run_t.c.events + len(events)).returning(run_t.c.events)
            total = connection.execute(changed).scalar()
            if total is None:
                raise RunChanged(f"run {run_id} is not running in attempt {attempt}")
            _append(connection, run_id, total - len(events) + 1, events)

    def get(self, tenant: str, run_id: str) -> Run | None:
        """See the port."""
        statement = select(run_t).where(run_t.c.id == run_id, run_t.c.tenant == tenant)
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        return run_of(row) if row else None

    def list(
        self,
        tenant: str,
        which: RunFilter = EVERY_RUN,
        *,
        before: Run | None = None,
        limit: int | None = None,
    ) -> Sequence[Run]:
        """See the port."""
        statement = select(run_t).where(run_t.c.tenant == tenant)
        if which.profile is not None:
            statement = statement.where(run_t.c.profile == which.profile)
        if which.status is not None:
            statement = statement.where(run_t.c.status == which.status)
        if before is not None:
            at = microseconds(before.submitted_at)
            earlier = and_(run_t.c.submitted_at == at, run_t.c.id < before.id)
            statement = statement.where(or_(run_t.c.submitted_at < at, earlier))
        return self._runs(statement.order_by(run_t.c.submitted_at.desc(), run_t.c.id.desc()).limit(limit))

    def unended(self, statuses: Collection[RunStatus]) -> Sequence[Run]:
        """See the port."""
        statement = select(run_t).where(run_t.c.status.in_([status.value for status in statuses]))
        return self._runs(statement.order_by(run_t.c.submitted_at, run_t.c.id))

    def count(self, tenant: str, status: RunStatus) -> int:
        """See the port."""
        with reading(self._engine) as connection:
            return _count(connection, tenant, status)

    def by_day(self, tenant: str, since: date) -> Mapping[tuple[date, RunStatus], int]:
        """See the port."""
        first = microseconds(datetime(since.year, since.month, since.day, tzinfo=UTC))
        day = (run_t.c.submitted_at // _DAY).label("day")
        statement = (
            select(day, run_t.c.status, func.count())
            .where(run_t.c.tenant == tenant, run_t.c.submitted_at >= first)
            .group_by(day, run_t.c.status)
        )
        with reading(self._engine) as connection:
            found = connection.execute(statement).all()
        return {(_EPOCH + timedelta(days=int(row[0])), RunStatus(row[1])): int(row[2]) for row in found}

    def planned(self, tenant: str, plan_digest: str) -> Sequence[Run]:
        """See the port."""
        statement = select(run_t).where(
            run_t.c.tenant == tenant,
            run_t.c.plan_digest == plan_digest,
            run_t.c.status == RunStatus.SUCCEEDED.value,
        )
        return self._runs(statement.order_by(run_t.c.submitted_at.desc(), run_t.c.id.desc()))

    def events(self, run_id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """See the port."""
        statement = select(run_event).where(run_event.c.run_id == run_id, run_event.c.number > after)
        with reading(self._engine) as connection:
            rows = connection.execute(statement.order_by(run_event.c.number).limit(limit)).all()
        return [event_of(row) for row in rows]

    def heads(self, run_ids: Collection[str]) -> Mapping[str, tuple[int, RunStatus]]:
        """See the port."""
        statement = select(run_t.c.id, func.coalesce(run_t.c.events, 0), run_t.c.status)
        found: dict[str, tuple[int, RunStatus]] = {}
        with reading(self._engine) as connection:
            for ids in pieces(sorted(run_ids)):
                rows = connection.execute(statement.where(run_t.c.id.in_(ids)))
                found |= {run_id: (events, RunStatus(status)) for run_id, events, status in rows}
        return found

    def delete(self, tenant: str, run_id: str) -> None:
        """See the port."""
        with writing(self._engine) as connection:
            gone = delete(run_t).where(run_t.c.id == run_id, run_t.c.tenant == tenant)
            if connection.execute(gone).rowcount:
                connection.execute(delete(run_event).where(run_event.c.run_id == run_id))

    def _runs(self, statement: Select[Any]) -> Sequence[Run]:
        with reading(self._engine) as connection:
            return [run_of(row) for row in connection.execute(statement)]


def _append(connection: Connection, run_id: str, first: int, events: Sequence[Event]) -> None:
    if events:
        rows = [event_row(run_id, number, event) for number, event in enumerate(events, first)]
        connection.execute(insert(run_event), rows)


def _demand_room(connection: Connection, tenant: str, most_pending: int) -> None:
    """Submissions of a tenant go one after another from here to the end of their transactions."""
    own = run_submission.c.tenant == tenant
    if not connection.execute(
        update(run_submission).where(own).values(number=run_submission.c.number + 1)
    ).rowcount:
        connection.execute(insert(run_submission).values(tenant=tenant, number=1))
    pending = _count(connection, tenant, RunStatus.PENDING)
    if pending >= most_pending:
        raise RunQuotaExceeded(
            f"tenant {tenant} has {pending} runs waiting, and may have {most_pending}", limit=most_pending
        )


def _count(connection: Connection, tenant: str, status: RunStatus) -> int:
    statement = select(func.count()).select_from(run_t)
    return connection.execute(
        statement.where(run_t.c.tenant == tenant, run_t.c.status == status.value)
    ).scalar_one()


class SqlProfiles:
    """`exports.ports.Profiles`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, profile: Profile) -> None:
        """See the port; the revision names its number (`r3`)."""
        with writing(self._engine) as connection:
            newest = self._newest(connection, profile.tenant, profile.name)
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
            note_encryption(connection, newest, profile)

    def _newest(self, connection: Connection, tenant: str, name: str) -> Profile | None:
        own = select(profile_t).where(_live(tenant), profile_t.c.name == name)
        row = connection.execute(own.order_by(profile_t.c.number.desc()).limit(1)).first()
        return _profile(row) if row else None

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

    def revision(self, tenant: str, name: str, revision: str) -> Profile | None:
        """See the port."""
        statement = select(profile_t).where(
            profile_t.c.tenant == tenant,
            profile_t.c.name == name,
            profile_t.c.number == int(revision.removeprefix("r")),
        )
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        return _profile(row) if row else None

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
