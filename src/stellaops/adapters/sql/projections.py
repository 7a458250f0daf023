"""Bringing derived rows to this release's versions: written beside the old ones, resumable, then the old ones go."""

from __future__ import annotations

import re

import msgspec
from sqlalchemy import Connection, Engine, and_, delete, func, inspect, select, text, update

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.errors import StoreTooNew
from stellaops.adapters.sql.imports import mark_stamped, unstamped, write_rows
from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, Assessment, assess
from stellaops.advisories.index import DocumentId
from stellaops.core.digests import Digest
from stellaops.ingest.derive import derive
from stellaops.ingest.feeds import FEEDS

_PAGE = 1000
_TABLE = re.compile(r"(index_row|alias_[a-z]+|java_[a-z]+|sbom_[a-z]+|trivy_[a-z]+|vex_[a-z]+)_v(\d+)$")


class SqlProjections:
    """`exports.ports.Projections` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def complete(self) -> None:
        """See the port. Imports write rows of the new version meanwhile; a row that exists stays.

        Raises:
            StoreTooNew: there are documents of a feed that this release does not know.
        """
        self._take_up()
        while self._rebuild_some():
            pass
        self._drop_old()

    @retried
    def _take_up(self) -> None:
        """What another release has imported gets rows of this one's."""
        job, table = schema.job, schema.projection
        statement = select(func.min(job.c.first_document)).where(unstamped())
        with reading(self._engine) as connection:
            first = connection.execute(statement).scalar()
        if first is None:
            return
        with writing(self._engine) as connection:
            last = connection.execute(select(func.coalesce(func.max(schema.document.c.id), 0))).scalar_one()
            for name, version in schema.VERSIONS.items():
                own = and_(table.c.name == name, table.c.version == version)
                connection.execute(update(table).where(own).values(rebuild_until=last))
                behind = and_(own, table.c.rebuilt_to >= first)
                connection.execute(update(table).where(behind).values(rebuilt_to=first - 1))
            mark_stamped(connection)

    @retried
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
        for name in names:
            if _TABLE.match(name) and name not in schema.PROJECTIONS.tables:
                projection, version = _of_table(name)
                # What a newer release made is left to it: trying an older one costs no second rebuild.
                if version < schema.VERSIONS.get(projection, 0):
                    self._drop(name, projection, version)

    def _drop(self, name: str, projection: str, version: int) -> None:
        table = schema.projection
        with writing(self._engine) as connection:
            connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
            # Without the entry, a release that comes back to them makes its rows from the beginning.
            connection.execute(delete(table).where(table.c.name == projection, table.c.version == version))


def _of_table(name: str) -> tuple[str, int]:
    """Name and version of the projection that a table belongs to."""
    stem, _, version = name.rpartition("_v")
    return stem.partition("_")[0], int(version)


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
        feed = FEEDS.get(row.feed)
        if feed is None:
            raise StoreTooNew(
                f"source {row.name} holds {row.feed} documents, which this release does not know"
            )
        parsed = feed.canonical(row.path, row.body).parsed if row.verbatim else msgspec.json.decode(row.body)
        read = feed.read(parsed, row.context or "")
        if read is not None:
            place = DocumentId(row.name, row.key, Digest(row.digest))
            database = databases.get(row.database) or databases.GENERIC
            assessment = assess(read) if isinstance(read, Advisory) else Assessment()
            made.append((row.id, derive(read, database, assessment, place)))
    write_rows(connection, made)
    return rows[-1].id if len(rows) == _PAGE else until
