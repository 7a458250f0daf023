"""The quarantine: records that could not be read, kept with their bytes and the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Engine, Select, select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.sources import instant
from stellaops.core.errors import NotFound
from stellaops.core.timestamps import EPOCH
from stellaops.ingest.model import Quarantined, owner_of
from stellaops.ingest.ports import Member

table = schema.quarantine


class QuarantineEntryNotFound(NotFound):
    """No open quarantine entry of this number."""

    code = "ERR_QUARANTINE_NOT_FOUND"
    hint = "See `stella concelier quarantine list`."


class SqlQuarantine:
    """`ingest.ports.QuarantineStore` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list(self, source: str | None) -> Sequence[Quarantined]:
        """See the port."""
        statement = _open_entries()
        if source is not None:
            statement = statement.where(table.c.source == source)
        with reading(self._engine) as connection:
            rows = connection.execute(statement.order_by(table.c.id)).all()
        # What belongs to one tenant is listed by its name alone.
        return [_entry(row) for row in rows if source is not None or not owner_of(row.source)]

    def raw(self, entry: int) -> tuple[Quarantined, bytes]:
        """See the port."""
        statement = _open_entries().add_columns(table.c.raw).where(table.c.id == entry)
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        if row is None:
            raise QuarantineEntryNotFound(f"there is no open quarantine entry {entry}")
        return _entry(row), row.raw

    def members(self, source: str) -> Iterator[Member]:
        """See the port. Entries whose bytes could not be had at all are left out: only their source has them."""
        container = schema.container
        statement = (
            select(
                table.c.path,
                table.c.raw,
                table.c.file_offset,
                table.c.context,
                container.c.url,
                container.c.digest,
                container.c.size,
            )
            .join(container, container.c.id == table.c.container)
            .where(table.c.source == source, table.c.resolved_by.is_(None), table.c.size > 0)
            .order_by(table.c.id)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(statement).all()
        for row in rows:
            yield Member(
                row.path, row.raw, row.url, row.digest, row.size, offset=row.file_offset, context=row.context
            )


def _open_entries() -> Select[Any]:
    return select(
        table.c.id, table.c.source, table.c.path, table.c.reason, table.c.detail, table.c.raw_digest, table.c.size,
        table.c.seen_at,
    ).where(table.c.resolved_by.is_(None))  # fmt: skip


def _entry(row: Any) -> Quarantined:
    return Quarantined(
        id=row.id,
        source=row.source,
        path=row.path,
        reason=row.reason,
        detail=row.detail,
        raw_digest=row.raw_digest,
        size=row.size,
        seen_at=instant(row.seen_at) or EPOCH,
    )
