"""Counting of what imports do, in the transactions that do it: whatever way documents come in, each is counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, and_, func, select, text

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.import_count_schema import import_count
from stellaops.adapters.sql.schema import OPEN
from stellaops.adapters.sql.vex_schema import vex_document
from stellaops.ingest.feeds import OWNED, VEX_FEEDS, side_of
from stellaops.ingest.model import Job, Source

DOCUMENTS, STATEMENTS = "concelier_documents_total", "excititor_statements_total"
OUTCOMES = ("added", "changed", "unchanged", "withdrawn", "vanished", "quarantined")
"""As import reports have them: what is newly withdrawn is counted in `changed` too."""

_ADD = text(
    "INSERT INTO import_count (name, source, outcome, value) VALUES (:name, :source, :outcome, :value)"
    " ON CONFLICT (name, source, outcome) DO UPDATE SET value = import_count.value + excluded.value"
)
Counts = Mapping[str, int]


def series(source: Source) -> str | None:
    """The metric that a source is counted in; None for what a tenant brings in itself."""
    if source.owner or side_of(source.feed) in OWNED:
        return None
    return STATEMENTS if source.feed in VEX_FEEDS else DOCUMENTS


def count(connection: Connection, source: Source, counts: Counts) -> None:
    """Add to what was counted of a source."""
    name = series(source)
    rows = [
        {"name": name, "source": source.name, "outcome": outcome, "value": value}
        for outcome, value in sorted(counts.items())
        if value
    ]
    if name is not None and rows:
        connection.execute(_ADD, rows)


def statements_of(connection: Connection, source: Source, revisions: Sequence[int]) -> int:
    """How many statements some documents make; how many documents there are, where they are advisories."""
    if series(source) != STATEMENTS:
        return len(revisions)
    own = vex_document.c.revision.in_(revisions)
    total = select(func.coalesce(func.sum(vex_document.c.statements), 0)).where(own)
    return int(connection.execute(total).scalar_one())


def known(connection: Connection, job: Job) -> int:
    """How much of an import the store had already, to the byte: documents, or their statements."""
    staged, revision = schema.staged, schema.revision
    same = and_(staged.c.job == job.id, staged.c.document.is_(None))
    if series(job.source) != STATEMENTS:
        return int(connection.execute(select(func.count()).select_from(staged).where(same)).scalar_one())
    current = and_(
        revision.c.owner == staged.c.owner,
        revision.c.source == job.source.name,
        revision.c.key == staged.c.key,
        revision.c.seq_to == OPEN,
    )
    total = (
        select(func.coalesce(func.sum(vex_document.c.statements), 0))
        .select_from(staged)
        .join(revision, current)
        .join(vex_document, vex_document.c.revision == revision.c.id)
        .where(same)
    )
    return int(connection.execute(total).scalar_one())


class SqlImportCounts:
    """What imports did since the store was made."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def counted(self) -> Mapping[tuple[str, str, str], int]:
        """Numbers by metric, source and outcome; 0 for what has not come to pass in a source that there is."""
        table = schema.source
        with reading(self._engine) as connection:
            rows: Sequence[Any] = connection.execute(select(import_count)).all()
            there = connection.execute(
                select(table.c.name, table.c.feed, table.c.database, table.c.licence)
            ).all()
        found: dict[tuple[str, str, str], int] = {}
        for name, source in ((series(each), each.name) for each in (Source(*row) for row in there)):
            if name is not None:
                found |= {(name, source, outcome): 0 for outcome in OUTCOMES}
        return found | {(row.name, row.source, row.outcome): row.value for row in rows}
