"""The registry of sources on SQL, with the lock that keeps two imports of one source apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, case, delete, func, insert, select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import dialect_of, reading, translated, where, writing
from stellaops.adapters.sql.listing_schema import source_listing
from stellaops.adapters.sql.schema import OPEN
from stellaops.adapters.sql.vex_rows import statements_by_source
from stellaops.core.errors import DependencyFailed
from stellaops.core.timestamps import EPOCH
from stellaops.ingest.model import SHARED, Source, SourceStatus, owner_of


class SourceBusy(DependencyFailed):
    """Another process is importing into the source."""

    code = "ERR_IMPORT_SOURCE_BUSY"
    hint = "Wait for the other import to end."


_MOST_COUNTED = 1000  # tenants


@dataclass(frozen=True, slots=True)
class _Counted:
    """Numbers of current documents, by source."""

    sequence: int
    documents: Mapping[str, Row[Any]]
    statements: Mapping[str, int]


class SqlSources:
    """`ingest.ports.Sources` on an evidence store."""

    def __init__(self, engine: Engine, locks: Path | None = None) -> None:
        self._engine = engine
        self._locks = locks
        # What was last counted for a tenant, and at which sequence: nothing else changes these numbers.
        self._counted: dict[str, _Counted] = {}

    def find(self, name: str) -> Source | None:
        """See the port."""
        table = schema.source
        with reading(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.name == name)).first()
        return Source(row.name, row.feed, row.database, row.licence) if row else None

    def status(self, tenant: str) -> tuple[int, list[SourceStatus]]:
        """See the port."""
        source, quarantine = schema.source, schema.quarantine
        broken = (
            select(quarantine.c.source, func.count()).where(quarantine.c.resolved_by.is_(None))
            .group_by(quarantine.c.source)
        )  # fmt: skip
        with reading(self._engine) as connection:
            sequence = connection.execute(select(schema.head.c.seq)).scalar_one()
            counted = self._counts(connection, int(sequence), tenant)
            quarantined = {row[0]: row[1] for row in connection.execute(broken)}
            rows = connection.execute(select(source).order_by(source.c.name)).all()
        lines = []
        for row in rows:
            if owner_of(row.name) not in (SHARED, tenant):
                continue
            count = counted.documents.get(row.name)
            lines.append(
                SourceStatus(
                    source=row.name,
                    feed=row.feed,
                    database=row.database,
                    documents=count.documents if count else 0,
                    withdrawn=int(count.withdrawn) if count else 0,
                    vanished=row.vanished,
                    quarantined=quarantined.get(row.name, 0),
                    licence=row.licence,
                    updated_at=instant(count.updated_at) if count else None,
                    checked_at=instant(row.checked_at),
                    complete=bool(row.complete),
                    statements=counted.statements.get(row.name, 0),
                )
            )
        return int(sequence), lines

    def _counts(self, connection: Connection, sequence: int, tenant: str) -> _Counted:
        known = self._counted.get(tenant)
        if known is not None and known.sequence == sequence:
            return known
        revision = schema.revision
        current = (
            select(
                revision.c.source,
                func.count().label("documents"),
                func.sum(case((revision.c.withdrawn, 1), else_=0)).label("withdrawn"),
                func.max(revision.c.stated_at).label("updated_at"),
            )
            .where(and_(revision.c.owner.in_([SHARED, tenant]), revision.c.seq_to == OPEN))
            .group_by(revision.c.source)
        )
        documents = {row.source: row for row in connection.execute(current)}
        found = _Counted(sequence, documents, statements_by_source(connection))
        if len(self._counted) >= _MOST_COUNTED:
            self._counted.clear()
        self._counted[tenant] = found
        return found

    def listings(self, name: str) -> Mapping[str, str]:
        """See the port."""
        table = source_listing
        with reading(self._engine) as connection:
            rows = connection.execute(select(table.c.scope, table.c.date).where(table.c.source == name)).all()
        return {row.scope: row.date for row in rows}

    def note_listings(self, name: str, listings: Mapping[str, str]) -> None:
        """See the port."""
        table = source_listing
        with writing(self._engine) as connection:
            mine = and_(table.c.source == name, table.c.scope.in_(list(listings)))
            connection.execute(delete(table).where(mine))
            rows = [{"source": name, "scope": scope, "date": date} for scope, date in listings.items()]
            connection.execute(insert(table), rows)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """See the port. The lock ends with the process, however that ends."""
        with ExitStack() as stack:
            with translated(self._locks or where(self._engine)):
                held = stack.enter_context(dialect_of(self._engine).lock(self._engine, self._locks, name))
            if not held:
                raise SourceBusy(f"source {name!r} is being imported by another process")
            yield


def instant(microseconds: int | None) -> datetime | None:
    """The store's form of an instant as a datetime."""
    return None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)
