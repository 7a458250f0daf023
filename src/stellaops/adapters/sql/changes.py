"""What changed in the evidence between two sequences, from the rows that began or ended there alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Engine, func, select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import dialect_of, reading
from stellaops.adapters.sql.evidence import kind_of, selected
from stellaops.adapters.sql.pieces import pieces
from stellaops.adapters.sql.sources import instant
from stellaops.adapters.sql.vex_schema import vex_statement
from stellaops.bundles.jsonl.shards import raw_line
from stellaops.exports.building.delta_ports import Change, SourceState
from stellaops.exports.ports import Selection
from stellaops.exports.selectors import Selectors
from stellaops.ingest.feeds import OWNED, side_of
from stellaops.ingest.model import owner_of

_revision, _tombstone, _source = schema.revision.c, schema.tombstone.c, schema.source.c


class _Named(msgspec.Struct):
    id: str


@dataclass(frozen=True, slots=True)
class _Place:
    """A source with what of it is selected."""

    owner: str
    source: str
    kind: str
    selection: Selection


class SqlChanges:
    """`exports.building.delta_ports.ChangedRows` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def touched(self, selection: Selection, base: int) -> int:
        """See the port."""
        touched = self._touched(selection.sequence, base)
        return sum(len(touched[place.owner, place.source]) for place in self._places(selection))

    def changes(self, selection: Selection, base: int, *, lines: bool = True) -> Iterator[Change]:
        """See the port: the keys and ids of what changed are held in memory, lines are not."""
        touched = self._touched(selection.sequence, base)
        for place in self._places(selection):
            found = touched.pop((place.owner, place.source), {})
            for keys in pieces(sorted(found)):
                page = {key: found[key] for key in keys}
                yield from self._page(place, base, page, lines=lines)

    def source_state(self, selection: Selection, source: str) -> SourceState | None:
        """See the port."""
        for place in self._places(selection):
            if place.source == source:
                statement = selected(
                    dialect_of(self._engine), place.selection, func.count(), func.max(_revision.stated_at)
                ).where(_revision.owner == place.owner, _revision.source == source)
                with reading(self._engine) as connection:
                    records, newest = connection.execute(statement).one()
                return SourceState(records, instant(newest)) if records else None
        return None

    def registered(self) -> dict[str, tuple[str, str]]:
        """See the port."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(_source.name, _source.database, _source.licence)).all()
        return {row.name: (row.database, row.licence) for row in rows}

    def names_in(self, revisions: Collection[int]) -> set[str]:
        """See the port: the ids of advisories, and the vulnerabilities of statements."""
        found: set[str] = set()
        index = schema.index_row.c
        with reading(self._engine) as connection:
            for some in pieces(sorted(revisions)):
                stated = select(vex_statement.c.vulnerability).where(vex_statement.c.revision.in_(some))
                found.update(connection.execute(stated.distinct()).scalars())
                rows = connection.execute(select(index.value).where(index.revision.in_(some))).scalars()
                found.update(msgspec.json.decode(row, type=_Named).id for row in rows)
        return found

    def _places(self, selection: Selection) -> list[_Place]:
        """The sources that a selection may have rows of, in the order of snapshots."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(_source.name, _source.feed)).all()
        found = []
        for name, feed in rows:
            kind, owner = kind_of(feed), owner_of(name)
            owned = side_of(feed) in OWNED
            chosen = selection.selectors.sources
            if owner not in ("", selection.tenant) or (not owned and chosen and name not in chosen):
                continue
            if (kind not in selection.records) if selection.records else owned:
                continue
            # No selector of advisories says anything of what is the tenant's own.
            narrowed = (
                Selectors(tlp_at_most=selection.selectors.tlp_at_most) if owned else selection.selectors
            )
            found.append(_Place(owner, name, kind, replace(selection, selectors=narrowed)))
        return sorted(found, key=lambda place: (place.owner, place.source))

    def _touched(self, new: int, base: int) -> defaultdict[tuple[str, str], dict[str, int | None]]:
        """The keys that changed, by owner and source: each with its revision at the new sequence, or None."""
        began = select(
            _revision.owner, _revision.source, _revision.key, _revision.id, _revision.seq_to
        ).where(_revision.seq_from > base, _revision.seq_from <= new)
        vanished = select(_tombstone.owner, _tombstone.source, _tombstone.key).where(
            _tombstone.seq > base, _tombstone.seq <= new
        )
        found: defaultdict[tuple[str, str], dict[str, int | None]] = defaultdict(dict)
        with reading(self._engine) as connection:
            for owner, source, key in connection.execute(vanished):
                found[owner, source][key] = None
            for owner, source, key, number, seq_to in connection.execute(began):
                if seq_to > new:
                    found[owner, source][key] = number
                else:
                    found[owner, source].setdefault(key, None)
        return found

    def _page(
        self, place: _Place, base: int, touched: dict[str, int | None], *, lines: bool
    ) -> Iterator[Change]:
        numbers = [number for number in touched.values() if number is not None]
        rows = {row.id: row for row in self._rows(place, numbers, lines=lines)}
        before = self._before(place, list(touched), base)
        for key, number in touched.items():
            old, row = before.get(key), None if number is None else rows.get(number)
            change = Change(
                place.owner,
                place.source,
                key,
                place.kind,
                gone=number is None,
                stated_before=None if old is None else instant(old.stated_at),
                digest_before=None if old is None else old.digest,
                revisions=tuple(each for each in (old and old.id, number) if each is not None),
            )
            yield change if row is None else _with_row(change, row, lines=lines)

    def _rows(self, place: _Place, numbers: Sequence[int], *, lines: bool) -> Sequence[Any]:
        """What the selection has of some revisions."""
        if not numbers:
            return ()
        document, index = schema.document, schema.index_row.alias("line")
        columns = [_revision.id, _revision.digest, _revision.raw_digest, _revision.stated_at]
        more = [document.c.verbatim, document.c.body, index.c.value]
        statement = selected(dialect_of(self._engine), place.selection, *columns, *(more if lines else ()))
        if lines:
            statement = statement.join(document, document.c.id == _revision.id).join(
                index, index.c.revision == _revision.id
            )
        with reading(self._engine) as connection:
            return connection.execute(statement.where(_revision.id.in_(numbers))).all()

    def _before(self, place: _Place, keys: Sequence[str], base: int) -> dict[str, Any]:
        """The revisions of some keys at the base."""
        statement = select(_revision.key, _revision.id, _revision.digest, _revision.stated_at).where(
            _revision.owner == place.owner,
            _revision.source == place.source,
            _revision.key.in_(keys),
            _revision.seq_from <= base,
            _revision.seq_to > base,
        )
        with reading(self._engine) as connection:
            return {row.key: row for row in connection.execute(statement)}


def _with_row(change: Change, row: Any, *, lines: bool) -> Change:
    """The change of a document that is selected."""
    told = replace(change, digest=row.digest, stated_at=instant(row.stated_at))
    if not lines:
        return told
    raw = raw_line(change.source, change.key, row.digest, row.raw_digest, row.body, verbatim=row.verbatim)
    return replace(told, raw=raw, index=row.value)
