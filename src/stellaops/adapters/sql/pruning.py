"""The floor of the evidence on SQL: what no kept run needs is removed, in short transactions that can end anywhere.

The floor is raised first, in a transaction of its own; only then are rows removed. So whoever looks at the floor after
it has read a state knows whether that state was whole. Revisions go first and leave their ids in `evidence_removal`;
derived rows follow, and documents last: as long as a document is there its id is not given out again. What a process
that died has left there, the next pass removes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import dialect_of, reading, retried, settle, writing
from stellaops.adapters.sql.retention_schema import evidence_floor, evidence_mark, evidence_removal
from stellaops.adapters.sql.vex_schema import consensus, consensus_state
from stellaops.exports.retention.ports import Reclaimed
from stellaops.ingest.import_documents import microseconds

REQUIRES = 4
"""The schema whose releases know of floors; earlier ones would take what is left of a state for the whole."""
_LOOK = 20_000
"""Rows of a table that are looked through in one transaction."""
_REMOVE = 1_000
"""Documents that are removed in one transaction."""

_revision, _removal = schema.revision.c, evidence_removal.c


class SqlEvidenceFloor:
    """`exports.retention.ports.EvidenceFloor` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def floor(self) -> int:
        """See the port."""
        with reading(self._engine) as connection:
            return floor_of(connection)

    @retried
    def mark(self, now: datetime) -> None:
        """See the port. Of several instants of one sequence the first is kept."""
        at = microseconds(now)
        with writing(self._engine) as connection:
            newest = connection.execute(select(schema.head.c.seq)).scalar_one()
            dialect_of(connection).insert_many(connection, evidence_mark, [(newest, at)], keep=True)

    def highest(self, before: datetime) -> int:
        """See the port."""
        of_instant = select(func.max(evidence_mark.c.seq)).where(evidence_mark.c.at <= microseconds(before))
        with reading(self._engine) as connection:
            marked = connection.execute(of_instant).scalar()
            # Changes up to there have still to be taken into the consensus.
            followed = connection.execute(select(consensus_state.c.sequence)).scalar()
        bounds = [each for each in (marked, followed) if each is not None]
        return 0 if marked is None else int(min(bounds))

    def raise_to(self, sequence: int, now: datetime) -> Reclaimed:
        """See the port."""
        was, floor = self._raise(sequence, now)
        if not floor:
            return Reclaimed(0, 0)
        for last, upto in _spans(self._engine, schema.revision, (_revision.id,)):
            self._remove_revisions(floor, last, upto)
        documents = self._remove_documents() if self._anything_left() else 0
        stones = schema.tombstone
        tombstones = sum(
            self._remove(stones, (stones.c.seq,), span, stones.c.seq <= floor)
            for span in _spans(self._engine, stones, (stones.c.seq,))
        )
        places = tuple(consensus.primary_key)
        states = sum(
            self._remove(consensus, places, span, consensus.c.seq_to <= floor)
            for span in _spans(self._engine, consensus, places)
        )
        if documents:
            settle(self._engine)
        return Reclaimed(floor, was, documents, tombstones, states)

    @retried
    def _raise(self, sequence: int, now: datetime) -> tuple[int, int]:
        """The floor before and after; the first one shuts out releases that know of none."""
        with writing(self._engine) as connection:
            newest = int(connection.execute(select(schema.head.c.seq).with_for_update()).scalar_one())
            was = floor_of(connection)
            floor = max(was, min(sequence, newest))
            if floor == was:
                return was, was
            values = {"floor": floor, "raised_at": microseconds(now)}
            if not connection.execute(update(evidence_floor).values(values)).rowcount:
                connection.execute(insert(evidence_floor).values(id=1, **values))
                shut_out(connection)
            # The newest mark below the floor says nothing any more.
            connection.execute(delete(evidence_mark).where(evidence_mark.c.seq < floor))
            return was, floor

    @retried
    def _remove_revisions(self, floor: int, last: Any, upto: Any) -> None:
        """Of a span of ids. Each leaves its id, so that what hangs on it is found."""
        with writing(self._engine) as connection:
            newest = connection.execute(select(func.max(schema.document.c.id))).scalar()
            gone = and_(
                _within((_revision.id,), last, upto), _revision.seq_to <= floor, _revision.id < newest
            )
            if connection.execute(select(_revision.id).where(gone).limit(1)).first() is None:
                return
            connection.execute(
                insert(evidence_removal).from_select(["revision"], select(_revision.id).where(gone))
            )
            connection.execute(delete(schema.revision).where(gone))

    def _anything_left(self) -> bool:
        with reading(self._engine) as connection:
            return connection.execute(select(_removal.revision).limit(1)).first() is not None

    def _remove_documents(self) -> int:
        """Everything of the revisions that are gone: rows by other keys first, then documents with the rest."""
        for table in schema.PROJECTIONS.sorted_tables:
            if not _leads_with_revision(table):
                places = tuple(table.primary_key)
                of_removed = exists().where(_removal.revision == table.c.revision)
                for span in _spans(self._engine, table, places):
                    self._remove(table, places, span, of_removed)
        removed = 0
        while some := self._remove_some():
            removed += some
        return removed

    @retried
    def _remove_some(self) -> int:
        document, block = schema.document.c, schema.raw_block.c
        with writing(self._engine) as connection:
            ids = connection.execute(
                select(_removal.revision).order_by(_removal.revision).limit(_REMOVE)
            ).scalars().all()  # fmt: skip
            if not ids:
                return 0
            for table in schema.PROJECTIONS.sorted_tables:
                if _leads_with_revision(table):
                    connection.execute(delete(table).where(table.c.revision.in_(ids)))
            of_blocks = select(document.raw_block).where(document.id.in_(ids)).distinct()
            blocks = [each for each in connection.execute(of_blocks).scalars() if each is not None]
            connection.execute(delete(schema.document).where(document.id.in_(ids)))
            needed = exists().where(document.raw_block == block.id)
            newest = select(func.max(block.id)).scalar_subquery()
            connection.execute(
                delete(schema.raw_block).where(block.id.in_(blocks), ~needed, block.id < newest)
            )
            connection.execute(delete(evidence_removal).where(_removal.revision.in_(ids)))
            return len(ids)

    @retried
    def _remove(
        self,
        table: Table,
        places: Sequence[ColumnElement[Any]],
        span: tuple[Any, Any],
        which: ColumnElement[bool],
    ) -> int:
        with writing(self._engine) as connection:
            return connection.execute(delete(table).where(_within(places, *span), which)).rowcount


def floor_of(connection: Connection) -> int:
    """The oldest sequence whose state is whole."""
    return int(connection.execute(select(evidence_floor.c.floor)).scalar() or 0)


def shut_out(connection: Connection) -> None:
    """Let releases that know no floor refuse the store from here on."""
    steps = schema.schema_step
    connection.execute(update(steps).where(steps.c.number == REQUIRES).values(oldest=REQUIRES))
    dialect_of(connection).note_oldest(connection, REQUIRES)


def _leads_with_revision(table: Table) -> bool:
    return next(iter(table.primary_key)).name == "revision"


def _within(places: Sequence[ColumnElement[Any]], last: Any, upto: Any) -> ColumnElement[bool]:
    """Between two keys: after the one, and up to the other."""
    bounds = []
    if last is not None:
        bounds.append(tuple_(*places) > _key(places, last))
    if upto is not None:
        bounds.append(tuple_(*places) <= _key(places, upto))
    return and_(literal(True), *bounds)


def _key(places: Sequence[ColumnElement[Any]], values: Sequence[Any]) -> ColumnElement[Any]:
    return tuple_(*(literal(value, column.type) for column, value in zip(places, values, strict=True)))


def _spans(engine: Engine, table: Table, places: Sequence[ColumnElement[Any]]) -> Iterator[tuple[Any, Any]]:
    """A table in the order of its key, some rows at a time: the keys before the first of them and of the last."""
    last: Any = None
    while True:
        statement = select(*places).select_from(table).where(_within(places, last, None))
        with reading(engine) as connection:
            upto = connection.execute(statement.order_by(*places).offset(_LOOK - 1).limit(1)).first()
        yield last, upto
        if upto is None:
            return
        last = upto
