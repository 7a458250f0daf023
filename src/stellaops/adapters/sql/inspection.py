"""A look into the evidence store that trusts nothing in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from backports import zstd
from sqlalchemy import Connection, Engine, func, select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import dialect_of, reading
from stellaops.adapters.sql.pruning import floor_of
from stellaops.adapters.sql.retention_schema import evidence_removal
from stellaops.ingest.doctor import Orphans, StoredContent

_PAGE = 500
_SHOWN = 20

revision, document = schema.revision, schema.document


class SqlInspection:
    """`ingest.doctor.Inspection` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def structure(self) -> Sequence[str]:
        """See the port."""
        with reading(self._engine) as connection:
            return dialect_of(connection).damage(connection)[:_SHOWN]

    def documents(self) -> int:
        """See the port."""
        with reading(self._engine) as connection:
            return _count(connection, select(func.count()).select_from(revision))

    def contents(self, share: int) -> Iterator[StoredContent]:
        """See the port: page by page, each raw block unpacked once a page."""
        block = schema.raw_block
        statement = (
            select(
                revision.c.id, revision.c.source, revision.c.key, revision.c.digest, revision.c.raw_digest,
                document.c.body, document.c.raw_block, document.c.raw_start, document.c.raw_length,
            )
            .join(document, document.c.id == revision.c.id)
            .where(revision.c.id % share == 0)
            .order_by(revision.c.id)
            .limit(_PAGE)
        )  # fmt: skip
        last = 0
        while True:
            with reading(self._engine) as connection:
                rows = connection.execute(statement.where(revision.c.id > last)).all()
                wanted = sorted({row.raw_block for row in rows if row.raw_block is not None})
                packed = connection.execute(select(block.c.id, block.c.data).where(block.c.id.in_(wanted)))
                blocks = {number: _unpacked(data) for number, data in packed}
            for row in rows:
                yield StoredContent(
                    row.source, row.key, row.digest, row.raw_digest, _bytes(row.body), _raw(row, blocks)
                )
            if len(rows) < _PAGE:
                return
            last = rows[-1].id

    def orphans(self) -> Orphans:
        """See the port."""
        with reading(self._engine) as connection:
            floor = floor_of(connection)
            return Orphans(
                documents=_count(connection, _documents_of_nothing()),
                revisions=_count(connection, _without(revision, document.c.id)),
                index_rows=_count(connection, _without(revision, schema.index_row.c.revision)),
                projection_rows=sum(
                    _count(connection, _of_nothing(table)) for table in schema.PROJECTIONS.tables.values()
                ),
                overlapping=_count(connection, _overlapping()),
                sequences=_count(connection, _sequences(floor)),
                head=_count(connection, select(schema.head.c.seq)),
            )


def _unpacked(data: bytes) -> bytes | None:
    try:
        return zstd.decompress(data)
    except zstd.ZstdError:
        return None


def _bytes(stored: Any) -> bytes:
    """SQLite keeps any type in any column, and gives back what somebody put there."""
    return stored if isinstance(stored, bytes) else str(stored).encode()


def _raw(row: Any, blocks: dict[int, bytes | None]) -> bytes | None:
    if row.raw_block is None:
        return _bytes(row.body)
    block = blocks.get(row.raw_block)
    return None if block is None else block[row.raw_start : row.raw_start + row.raw_length]


def _count(connection: Connection, statement: Any) -> int:
    return int(connection.execute(statement).scalar_one())


def _without(table: Any, column: Any) -> Any:
    present = select(column).where(column == table.c.id).correlate(table)
    return select(func.count()).select_from(table).where(~present.exists())


def _documents_of_nothing() -> Any:
    """Not those that an import has staged, or will let go when it ends, nor those that retention is removing."""
    used = select(revision.c.id).where(revision.c.id == document.c.id).correlate(document)
    busy = select(schema.job.c.id).where(schema.job.c.state != "done")
    going = select(evidence_removal.c.revision).where(evidence_removal.c.revision == document.c.id)
    return (
        select(func.count())
        .select_from(document)
        .where(~used.exists(), ~busy.exists(), ~going.correlate(document).exists())
    )


def _of_nothing(table: Any) -> Any:
    present = select(document.c.id).where(document.c.id == table.c.revision).correlate(table)
    return select(func.count()).select_from(table).where(~present.exists())


def _overlapping() -> Any:
    other = revision.alias("other")
    return (
        select(func.count())
        .select_from(revision)
        .join(
            other,
            (other.c.owner == revision.c.owner)
            & (other.c.source == revision.c.source)
            & (other.c.key == revision.c.key)
            & (other.c.id > revision.c.id),
        )
        .where(other.c.seq_from < revision.c.seq_to, revision.c.seq_from < other.c.seq_to)
    )


def _sequences(floor: int) -> Any:
    """Of those up to the floor, retention may have removed the changes."""
    opened = select(revision.c.seq_from.label("seq")).where(revision.c.seq_from > floor)
    vanished = select(schema.tombstone.c.seq.label("seq")).where(schema.tombstone.c.seq > floor)
    return select(floor + func.count()).select_from(opened.union(vanished).subquery())
