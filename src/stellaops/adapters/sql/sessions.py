"""Sessions in the service store."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Engine, and_, delete, insert, or_, select, update

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.session_schema import session_t
from stellaops.adapters.sql.sources import instant
from stellaops.authority.sessions import SessionRecord
from stellaops.ingest.import_documents import microseconds


class SqlSessions:
    """`authority.sessions.Sessions`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def add(self, record: SessionRecord) -> None:
        """See the port."""
        values = {
            "id": record.id, "client": record.client, "began_at": microseconds(record.began_at),
            "used_at": microseconds(record.used_at), "version": record.version, "sealed": record.sealed,
        }  # fmt: skip
        with writing(self._engine, durable=False) as connection:
            connection.execute(insert(session_t).values(values))

    def get(self, session_id: str) -> SessionRecord | None:
        """See the port."""
        with reading(self._engine) as connection:
            row = connection.execute(select(session_t).where(session_t.c.id == session_id)).one_or_none()
        return None if row is None else _record(row)

    @retried
    def note_use(self, session_id: str, at: datetime) -> None:
        """See the port."""
        used_at = microseconds(at)
        mine = and_(session_t.c.id == session_id, session_t.c.used_at < used_at)
        with writing(self._engine, durable=False) as connection:
            connection.execute(update(session_t).where(mine).values(used_at=used_at))

    @retried
    def claim(self, record: SessionRecord, now: datetime, until: datetime) -> bool:
        """See the port."""
        free = or_(session_t.c.renewing_until.is_(None), session_t.c.renewing_until <= microseconds(now))
        this = and_(session_t.c.id == record.id, session_t.c.version == record.version, free)
        with writing(self._engine, durable=False) as connection:
            changed = connection.execute(
                update(session_t).where(this).values(renewing_until=microseconds(until))
            )
            return changed.rowcount > 0

    @retried
    def change(self, record: SessionRecord, *, renewed: bool) -> bool:
        """See the port."""
        this = and_(session_t.c.id == record.id, session_t.c.version == record.version)
        values: dict[str, Any] = {
            "client": record.client, "sealed": record.sealed, "version": record.version + 1,
            **({"renewing_until": None} if renewed else {}),
        }  # fmt: skip
        with writing(self._engine) as connection:
            return connection.execute(update(session_t).where(this).values(values)).rowcount > 0

    @retried
    def remove(self, session_id: str) -> None:
        """See the port."""
        with writing(self._engine) as connection:
            connection.execute(delete(session_t).where(session_t.c.id == session_id))

    @retried
    def prune(self, began_before: datetime, used_before: datetime) -> None:
        """See the port."""
        over = or_(
            session_t.c.began_at <= microseconds(began_before),
            session_t.c.used_at <= microseconds(used_before),
        )
        with writing(self._engine, durable=False) as connection:
            connection.execute(delete(session_t).where(over))


def _record(row: Any) -> SessionRecord:
    began_at, used_at = instant(row.began_at), instant(row.used_at)
    assert began_at is not None  # noqa: S101 - the column says so
    assert used_at is not None  # noqa: S101 - the column says so
    return SessionRecord(
        row.id, row.client, began_at, used_at, bytes(row.sealed), instant(row.renewing_until), row.version
    )
