"""Writing and counting the statements of VEX documents."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import dialect_of
from stellaops.adapters.sql.schema import OPEN
from stellaops.adapters.sql.vex_schema import vex_document, vex_statement, vex_words
from stellaops.ingest.feeds import VEX_FEEDS
from stellaops.ingest.model import Source
from stellaops.vex.projection import VexRows


class Statements:
    """Rows of several documents, to be written together."""

    def __init__(self) -> None:
        self._documents: list[tuple[Any, ...]] = []
        self._rows: list[tuple[Any, ...]] = []
        self._words: list[tuple[Any, ...]] = []

    def add(self, revision: int, made: VexRows) -> None:
        """The rows of one document."""
        issuer = made.issuer
        self._documents.append((revision, made.id, issuer.name, issuer.role.value, made.statements))
        self._rows.extend((revision, *row) for row in made.rows)
        self._words.extend((revision, number, text) for number, text in made.words.items())

    def write(self, connection: Connection) -> None:
        """Write them; rows that exist stay as they are."""
        dialect = dialect_of(connection)
        for table, rows in (
            (vex_document, self._documents),
            (vex_statement, self._rows),
            (vex_words, self._words),
        ):
            if rows:
                dialect.insert_many(connection, table, rows, keep=True)


def statements_by_source(connection: Connection) -> dict[str, int]:
    """How many statements the current documents of each source make; sources without any are left out."""
    revision, table = schema.revision, vex_document
    statement = (
        select(revision.c.source, func.sum(table.c.statements))
        .join(table, table.c.revision == revision.c.id)
        .where(revision.c.seq_to == OPEN)
        .group_by(revision.c.source)
    )
    return {source: int(count) for source, count in connection.execute(statement)}


def count_statements(connection: Connection, source: Source) -> int | None:
    """How many statements the current documents of a source make; None where they are advisories."""
    if source.feed not in VEX_FEEDS:
        return None
    return statements_by_source(connection).get(source.name, 0)
