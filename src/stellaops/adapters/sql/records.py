"""Look-ups for people: documents by id, alias or key, with their provenance and their raw bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from backports import zstd
from sqlalchemy import Connection, Engine, and_, select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.alias_links import LINKED, said_of
from stellaops.adapters.sql.alias_schema import alias_link
from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.pieces import pieces
from stellaops.adapters.sql.schema import OPEN
from stellaops.adapters.sql.sources import instant
from stellaops.advisories.aliases import Relation, Statement
from stellaops.core.timestamps import EPOCH
from stellaops.ingest.model import SHARED, StoredRecord


class SqlRecords:
    """`ingest.ports.RecordReader` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, identifier: str, tenant: str) -> Sequence[StoredRecord]:
        """See the port: by the links between ids, by the rows for scanners, and by the key."""
        revision, document, container, source = (
            schema.revision,
            schema.document,
            schema.container,
            schema.source,
        )
        index = schema.index_row
        statement = (
            select(revision, document.c.verbatim, document.c.body, document.c.raw_length, document.c.checked,
                   container.c.url,
                   container.c.digest.label("container_digest"), source.c.licence, index.c.value)
            .join(document, document.c.id == revision.c.id)
            .join(container, container.c.id == revision.c.container)
            .join(source, source.c.name == revision.c.source)
            .join(index, index.c.revision == revision.c.id)
        )  # fmt: skip
        with reading(self._engine) as connection:
            ids = _named(connection, identifier, tenant)
            found = [
                _record(row)
                for piece in pieces(ids)
                for row in connection.execute(statement.where(revision.c.id.in_(piece)))
            ]
        return sorted(found, key=lambda each: (each.source.encode(), each.key.encode()))

    def statements(self, identifiers: Collection[str], tenant: str) -> Sequence[Statement]:
        """See the port."""
        revision, link = schema.revision, alias_link
        statement = (
            select(*LINKED)
            .join(revision, revision.c.id == link.c.revision)
            .where(revision.c.owner.in_([SHARED, tenant]), revision.c.seq_to == OPEN)
        )
        with reading(self._engine) as connection:
            return said_of(connection, statement, identifiers)

    def raw(self, source: str, key: str) -> bytes | None:
        """The upstream's own bytes of a current document; None where there is none."""
        revision, document, block = schema.revision, schema.document, schema.raw_block
        statement = (
            select(document.c.body, document.c.raw_start, document.c.raw_length, block.c.data)
            .join(revision, revision.c.id == document.c.id)
            .outerjoin(block, block.c.id == document.c.raw_block)
            .where(revision.c.source == source, revision.c.key == key, revision.c.seq_to == OPEN)
        )
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        if row is None:
            return None
        if row.data is None:
            return bytes(row.body)
        return zstd.decompress(row.data)[row.raw_start : row.raw_start + row.raw_length]


def _record(row: Any) -> StoredRecord:
    return StoredRecord(
        source=row.source,
        key=row.key,
        digest=row.digest,
        raw_digest=row.raw_digest,
        verbatim=bool(row.verbatim),
        body=row.body,
        path=row.path,
        offset=row.file_offset,
        length=row.raw_length,
        container_url=row.url,
        container_digest=row.container_digest,
        fetched_at=instant(row.fetched_at) or EPOCH,
        licence=row.licence,
        withdrawn=bool(row.withdrawn),
        checked=row.checked or "",
        sequence_from=row.seq_from,
        sequence_to=None if row.seq_to == OPEN else row.seq_to,
        index_row=row.value,
    )


def _named(connection: Connection, identifier: str, tenant: str) -> list[int]:
    """Current revisions that have an id, an alias or a key; each look is one place of an index."""
    revision, vulnerability, link = schema.revision, schema.trivy_vulnerability, alias_link
    current = revision.c.owner.in_([SHARED, tenant]), revision.c.seq_to == OPEN
    stated = link.c.relation != Relation.RELATED.value
    looks = [
        select(revision.c.id).join(vulnerability, vulnerability.c.revision == revision.c.id)
        .where(vulnerability.c.vulnerability == identifier, *current),
        *(
            select(revision.c.id).join(link, link.c.revision == revision.c.id)
            .where(name == identifier, stated, *current)
            for name in (link.c.subject, link.c.object)
        ),
    ]  # fmt: skip
    sources = list(connection.execute(select(schema.source.c.name)).scalars())
    # What stands after the key of a container: `#` and which of its records.
    part = and_(revision.c.key >= f"{identifier}#", revision.c.key < f"{identifier}{chr(ord('#') + 1)}")
    looks += [
        select(revision.c.id).where(revision.c.source.in_(sources), key, *current)
        for key in (revision.c.key == identifier, part)
    ]
    return sorted({int(found) for look in looks for found in connection.execute(look).scalars()})
