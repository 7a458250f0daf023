"""Look-ups for people: documents by id, alias or key, with their provenance and their raw bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backports import zstd
from sqlalchemy import Engine, Text, cast, func, or_, select, text

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.schema import OPEN
from stellaops.adapters.sql.sources import instant
from stellaops.core.timestamps import EPOCH
from stellaops.ingest.model import SHARED, StoredRecord


class SqlRecords:
    """`ingest.ports.RecordReader` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, identifier: str, tenant: str) -> Sequence[StoredRecord]:
        """See the port. The vulnerability rows make the look-up by CVE quick; the index rows know every alias."""
        revision, document, container, source = (
            schema.revision,
            schema.document,
            schema.container,
            schema.source,
        )
        index, vulnerability = schema.index_row, schema.trivy_vulnerability
        value = cast(index.c.value, Text)
        aliases = func.json_each(value, "$.aliases").table_valued("value")
        by_alias = select(text("1")).select_from(aliases).where(aliases.c.value == identifier).exists()
        by_cve = select(vulnerability.c.revision).where(vulnerability.c.vulnerability == identifier)
        statement = (
            select(revision, document.c.verbatim, document.c.body, document.c.raw_length, container.c.url,
                   container.c.digest.label("container_digest"), source.c.licence, index.c.value)
            .join(document, document.c.id == revision.c.id)
            .join(container, container.c.id == revision.c.container)
            .join(source, source.c.name == revision.c.source)
            .join(index, index.c.revision == revision.c.id)
            .where(revision.c.owner.in_([SHARED, tenant]), revision.c.seq_to == OPEN)
            .where(
                or_(
                    revision.c.key == identifier,
                    revision.c.id.in_(by_cve),
                    func.json_extract(value, "$.id") == identifier,
                    by_alias,
                )
            )
            .order_by(revision.c.source, revision.c.key)
        )  # fmt: skip
        with reading(self._engine) as connection:
            return [_record(row) for row in connection.execute(statement)]

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
        sequence_from=row.seq_from,
        sequence_to=None if row.seq_to == OPEN else row.seq_to,
        index_row=row.value,
    )
