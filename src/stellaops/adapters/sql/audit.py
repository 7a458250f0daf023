"""The audit log, in the service store."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql.authority_schema import audit_t
from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.sources import instant
from stellaops.authority.audit import EVERYTHING, AuditFilter, AuditRecord, Change
from stellaops.core.digests import Digest
from stellaops.core.timestamps import EPOCH
from stellaops.ingest.import_documents import microseconds


class _Record(msgspec.Struct, omit_defaults=True):
    """The parts of a record that nothing is looked up by."""

    before: str | None = None
    after: str | None = None
    reason: str = ""
    details: dict[str, Any] = {}
    trace_id: str = ""
    outcome: str = "ok"


def write(connection: Connection, record: AuditRecord) -> AuditRecord:
    """Add a record in the transaction of what it tells of; the record as it is stored."""
    at, change = microseconds(record.at), record.change
    stored = replace(record, id=f"{at:016x}-{secrets.token_hex(6)}")
    rest = _Record(
        change.before, change.after, change.reason, dict(change.details), record.trace_id, record.outcome
    )
    values = {
        "id": stored.id, "at": at, "tenant": record.tenant, "actor": record.actor, "origin": record.origin,
        "action": change.action, "target": change.target, "record": msgspec.json.encode(rest),
    }  # fmt: skip
    connection.execute(insert(audit_t).values(values))
    return stored


class SqlAudit:
    """`authority.ports.AuditLog`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def add(self, record: AuditRecord) -> AuditRecord:
        """See the port."""
        with writing(self._engine) as connection:
            return write(connection, record)

    def list(
        self,
        tenants: Sequence[str] | None,
        which: AuditFilter = EVERYTHING,
        *,
        before: str | None = None,
        limit: int = 100,
    ) -> Sequence[AuditRecord]:
        """See the port."""
        statement = select(audit_t).where(*_conditions(which))
        if tenants is not None:
            statement = statement.where(audit_t.c.tenant.in_(list(tenants)))
        if before is not None:
            statement = statement.where(audit_t.c.id < before)
        with reading(self._engine) as connection:
            rows = connection.execute(statement.order_by(audit_t.c.id.desc()).limit(limit)).all()
        return [_read(row) for row in rows]


def _conditions(which: AuditFilter) -> Iterator[ColumnElement[bool]]:
    if which.action is not None and which.action.endswith("."):
        yield audit_t.c.action.startswith(which.action, autoescape=True)
    elif which.action is not None:
        yield audit_t.c.action == which.action
    if which.actor is not None:
        yield audit_t.c.actor == which.actor
    if which.target is not None:
        yield audit_t.c.target == which.target
    if which.since is not None:
        yield audit_t.c.at >= microseconds(which.since)
    if which.until is not None:
        yield audit_t.c.at < microseconds(which.until)


def _read(row: Any) -> AuditRecord:
    rest = msgspec.json.decode(row.record, type=_Record)
    before, after = (None if each is None else Digest(each) for each in (rest.before, rest.after))
    return AuditRecord(
        id=row.id,
        at=instant(row.at) or EPOCH,
        tenant=row.tenant,
        actor=row.actor,
        origin=row.origin,
        change=Change(row.action, row.target, before, after, rest.reason, rest.details),
        trace_id=rest.trace_id,
        outcome=rest.outcome,
    )
