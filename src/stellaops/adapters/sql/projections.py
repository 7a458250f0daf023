"""Bringing derived rows to this release's versions: written beside the old ones, resumable, then the old ones go."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Engine, inspect, select, text, update

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import reading, writing
from stellaops.adapters.sql.imports import write_rows
from stellaops.advisories import databases
from stellaops.advisories.advisory import assess
from stellaops.advisories.documents.registry import FEEDS
from stellaops.advisories.index import DocumentId, index_row
from stellaops.bundles.trivy.projection import Projection, project
from stellaops.core.digests import Digest

_PAGE = 1000
_TABLE = re.compile(r"(index_row|trivy_[a-z]+)_v(\d+)$")


@dataclass(frozen=True, slots=True)
class _Rows:
    index_row: bytes
    projection: Projection


class SqlProjections:
    """`exports.ports.Projections` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def complete(self) -> None:
        """See the port. Imports write rows of the new version meanwhile; a row that exists stays."""
        while self._rebuild_some():
            pass
        self._drop_old()

    def _rebuild_some(self) -> bool:
        table = schema.projection
        with reading(self._engine) as connection:
            rows = connection.execute(select(table).where(table.c.rebuilt_to < table.c.rebuild_until)).all()
        current = [row for row in rows if schema.VERSIONS.get(row.name) == row.version]
        if not current:
            return False
        begin = min(row.rebuilt_to for row in current)
        until = max(row.rebuild_until for row in current)
        with writing(self._engine) as connection:
            reached = _rebuild_page(connection, begin, until)
            connection.execute(
                update(table)
                .where(table.c.rebuilt_to < table.c.rebuild_until, table.c.rebuilt_to <= reached)
                .values(rebuilt_to=reached)
            )
        return True

    def _drop_old(self) -> None:
        with reading(self._engine) as connection:
            names = inspect(connection).get_table_names()
        old = [name for name in names if _TABLE.match(name) and name not in schema.PROJECTIONS.tables]
        newer = [name for name in old if int(name.rpartition("_v")[2]) > max(schema.VERSIONS.values())]
        for name in old:
            if name not in newer:
                with writing(self._engine) as connection:
                    connection.execute(text(f"DROP TABLE IF EXISTS {name}"))


def _rebuild_page(connection: Connection, begin: int, until: int) -> int:
    document, revision, source = schema.document, schema.revision, schema.source
    statement = (
        select(
            revision.c.id, revision.c.key, revision.c.digest, revision.c.path, source.c.name, source.c.feed,
            source.c.database, document.c.verbatim, document.c.body, document.c.context,
        )
        .join(document, document.c.id == revision.c.id)
        .join(source, source.c.name == revision.c.source)
        .where(revision.c.id > begin, revision.c.id <= until)
        .order_by(revision.c.id)
        .limit(_PAGE)
    )  # fmt: skip
    rows = connection.execute(statement).all()
    made = []
    for row in rows:
        feed = FEEDS[row.feed]
        parsed = feed.canonical(row.path, row.body).parsed if row.verbatim else msgspec.json.decode(row.body)
        advisory = feed.read(parsed, row.context or "")
        if advisory is not None:
            place = DocumentId(row.name, row.key, Digest(row.digest))
            database = databases.get(row.database) or databases.GENERIC
            assessment = assess(advisory)
            rows_of = _Rows(
                index_row(advisory, place, assessment.highest), project(advisory, database, assessment)
            )
            made.append((row.id, rows_of))
    write_rows(connection, made)
    return rows[-1].id if len(rows) == _PAGE else until
