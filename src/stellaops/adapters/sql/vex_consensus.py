"""The consensus of VEX statements on SQL: kept up to date with what changes, and worked out for any other moment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    and_,
    bindparam,
    case,
    delete,
    insert,
    literal,
    or_,
    select,
    tuple_,
    union,
    update,
)
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.alias_links import LINKED, said_of
from stellaops.adapters.sql.alias_schema import alias_link
from stellaops.adapters.sql.engine import dialect_of, reading, retried, writing
from stellaops.adapters.sql.moments import valid
from stellaops.adapters.sql.pieces import pieces
from stellaops.adapters.sql.schema import OPEN
from stellaops.adapters.sql.types import TEXT
from stellaops.adapters.sql.vex_schema import (
    consensus,
    consensus_name,
    consensus_state,
    consensus_touched,
    consensus_walk,
    vex_document,
    vex_statement,
)
from stellaops.adapters.sql.vex_words import words_at
from stellaops.advisories.aliases import Statement
from stellaops.ingest.model import SHARED
from stellaops.ingest.vex_ports import Refreshed
from stellaops.vex import consensus as rules
from stellaops.vex import projection
from stellaops.vex.consensus import Consensus, Held, Subject, decide, subjects
from stellaops.vex.names import is_settled, stands_for
from stellaops.vex.projection import SEPARATOR
from stellaops.vex.statement import Words
from stellaops.vex.weights import Weights

_PAGE = 2000

Place = tuple[str, str, bytes]
"""Vulnerability, package and id of a state."""

_statement, _revision, _touched = vex_statement.c, schema.revision.c, consensus_touched.c


class SqlConsensus:
    """`ingest.vex_ports.ConsensusStore` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def refresh(self, weights: Weights, progress: Callable[[int], None] = lambda examined: None) -> Refreshed:
        """See the port. Pages of their own transactions: what is interrupted goes on where it was."""
        examined = changed = 0
        while True:
            sequence = self._begin(weights)
            while True:
                page = self._refresh_some(weights, sequence)
                if page is None:
                    break
                examined, changed = examined + page[0], changed + page[1]
                progress(examined)
            with reading(self._engine) as connection:
                if connection.execute(select(schema.head.c.seq)).scalar_one() == sequence:
                    return Refreshed(sequence, examined, changed)

    @retried
    def _begin(self, weights: Weights) -> int:
        """Note what is touched by the changes since the last refresh, unless that has not ended; the target."""
        made_by = f"{rules.VERSION} {projection.VERSION} {weights.digest}"
        state = consensus_state.c
        with writing(self._engine) as connection:
            row = connection.execute(select(consensus_state).with_for_update()).first()
            if row is None:
                connection.execute(insert(consensus_state).values(id=1, sequence=0, made_by=made_by))
            elif row.made_by != made_by:
                for table in (consensus_touched, consensus_name, consensus_walk, consensus):
                    connection.execute(delete(table))
            elif connection.execute(select(_touched.stated).limit(1)).first() is not None:
                return int(row.sequence)
            begin = row.sequence if row is not None and row.made_by == made_by else 0
            head = int(connection.execute(select(schema.head.c.seq)).scalar_one())
            if head > begin:
                _touch(connection, begin, head)
            connection.execute(update(consensus_state).values({state.sequence: head, state.made_by: made_by}))
            return head

    @retried
    def _refresh_some(self, weights: Weights, sequence: int) -> tuple[int, int] | None:
        """One page of what is touched: how many subjects, and how many changed; None when nothing is left."""
        with writing(self._engine) as connection:
            span = _next_span(connection)
            if span is None:
                return None
            first, last = map(_pair, span)
            within = tuple_(_touched.vulnerability, _touched.package).between(first, last)
            found = dict(_decided(_held_of_touched(connection, within, sequence), weights))
            counted = _keep(connection, found, _kept(connection, within), sequence)
            connection.execute(delete(consensus_touched).where(within))
            return counted

    def statements(
        self,
        names: Collection[str],
        tenant: str,
        *,
        sequence: int | None = None,
        package: str | None = None,
        packages: Collection[str] | None = None,
    ) -> Sequence[Held]:
        """See the ports; `packages` are all that are wanted, by the index of names and packages."""
        statement = _select_held(sequence, tenant)
        if package is not None:
            statement = statement.where(_statement.package == package)
        found: list[Held] = []
        with reading(self._engine) as connection:
            for some in pieces(sorted(names)):
                named = statement.where(_statement.vulnerability.in_(some))
                wanted = (
                    [named]
                    if packages is None
                    else [named.where(_statement.package.in_(these)) for these in pieces(sorted(packages))]
                )
                found.extend(as_held(row) for each in wanted for row in connection.execute(each))
        return sorted(
            found, key=attrgetter("vulnerability", "package", "source", "key", "position", "number")
        )

    def links(self, names: Collection[str], tenant: str, sequence: int | None = None) -> Sequence[Statement]:
        """See the port."""
        with reading(self._engine) as connection:
            return _links(connection, names, tenant, sequence)

    def words(self, places: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Words]:
        """See the port."""
        return words_at(self._engine, places)

    def states(
        self, weights: Weights, tenant: str, sequence: int | None = None
    ) -> Iterator[tuple[Subject, Consensus]]:
        """See the port: a few vulnerabilities at a time."""
        with reading(self._engine) as connection:
            names = (
                connection.execute(_valid(select(_statement.vulnerability).distinct(), sequence, tenant))
                .scalars()
                .all()
            )
            stand = {
                name: stands_for(name, lambda some: _links(connection, some, tenant, sequence))[0]
                for name in names
                if not is_settled(name)
            }
        by_name: dict[str, list[str]] = {}
        for name in names:
            by_name.setdefault(stand.get(name, name), []).append(name)
        for some in pieces(sorted(by_name), 50):
            together = [name for vulnerability in some for name in by_name[vulnerability]]
            found = self.statements(together, tenant, sequence=sequence)
            pairs = sorted(
                ((stand.get(each.vulnerability, each.vulnerability), each) for each in found),
                key=lambda pair: (pair[0], pair[1].package),
            )
            yield from _decided(pairs, weights)


def _touch(connection: Connection, begin: int, until: int) -> None:
    """Note the vulnerabilities and packages that changes between two sequences are about."""
    # Few documents have statements, and fewer of them changed: from there to the rows.
    changed = (
        select(vex_document.c.revision)
        .join(schema.revision, _revision.id == vex_document.c.revision)
        .where(_changed(begin, until))
        .order_by(_revision.source, _revision.key)
    )
    for some in pieces(connection.execute(changed).scalars().all()):
        if begin:
            _touch_differences(connection, some, begin, until)
        else:
            _touch_where(connection, _statement.revision.in_(some))
    stated = set(connection.execute(select(_touched.stated).distinct()).scalars())
    _note_names(connection, {name for name in stated if not is_settled(name)}, begin, until)
    table = consensus_name.c
    renamed = {
        row.stated: row.vulnerability for row in connection.execute(select(table.stated, table.vulnerability))
    }
    touched = set(connection.execute(select(_touched.stated).distinct()).scalars())
    for name, vulnerability in renamed.items():
        if name in touched:
            here = _touched.stated == name
            connection.execute(update(consensus_touched).where(here).values(vulnerability=vulnerability))
    for name, vulnerability in renamed.items():
        if name in touched or vulnerability in touched:
            _touch_family(
                connection, vulnerability, [each for each in renamed if renamed[each] == vulnerability]
            )


def _changed(begin: int, until: int) -> ColumnElement[bool]:
    """Revisions that came or went after one sequence and up to another."""
    return or_(
        and_(_revision.seq_from > begin, _revision.seq_from <= until),
        and_(_revision.seq_to > begin, _revision.seq_to <= until),
    )


def _touch_differences(connection: Connection, revisions: Sequence[int], begin: int, until: int) -> None:
    """What a document says before and after its change alike stays as it is."""
    rows = (
        select(*HELD[:-3])
        .select_from(vex_statement)
        .join(vex_document, vex_document.c.revision == _statement.revision)
        .join(schema.revision, _revision.id == _statement.revision)
        .where(_statement.revision.in_(revisions), ~_revision.withdrawn)
    )
    gone = rows.where(_revision.seq_from <= begin, _revision.seq_to <= until)
    came = rows.where(_revision.seq_from > begin, _revision.seq_to > until)
    for one, other in ((gone, came), (came, gone)):
        differing = one.except_(other).subquery().c
        _insert_missing(
            connection,
            select(
                differing.vulnerability, differing.package, differing.vulnerability.label("stated")
            ).distinct(),
        )


def _touch_where(connection: Connection, condition: ColumnElement[bool]) -> None:
    pairs = (
        select(_statement.vulnerability, _statement.package, _statement.vulnerability.label("stated"))
        .where(condition)
        .distinct()
    )
    _insert_missing(connection, pairs)


def _insert_missing(connection: Connection, pairs: Select[Any]) -> None:
    rows = pairs.subquery()
    known = select(_touched.stated).where(
        _touched.vulnerability == rows.c.vulnerability,
        _touched.package == rows.c.package,
        _touched.stated == rows.c.stated,
    )
    columns = ["vulnerability", "package", "stated"]
    fresh = select(rows.c.vulnerability, rows.c.package, rows.c.stated).where(~known.exists())
    connection.execute(insert(consensus_touched).from_select(columns, fresh))


def _touch_family(connection: Connection, vulnerability: str, names: Sequence[str]) -> None:
    """A state comes of the statements under all names, for each package that is touched under any of them."""
    packages = select(_touched.package).where(_touched.vulnerability == vulnerability)
    for name in (vulnerability, *names):
        pairs = (
            select(
                literal(vulnerability, TEXT).label("vulnerability"),
                _statement.package,
                _statement.vulnerability.label("stated"),
            )
            .where(_statement.vulnerability == name, _statement.package.in_(packages))
            .distinct()
        )
        _insert_missing(connection, pairs)


def _note_names(connection: Connection, stated: set[str], begin: int, until: int) -> None:
    """Find out again what names stand for, where that is not known or documents say something else by now."""
    table, walk = consensus_name.c, consensus_walk.c
    known = {
        row.stated: row.vulnerability for row in connection.execute(select(table.stated, table.vulnerability))
    }
    for name in sorted((stated - known.keys()) | _unsettled(connection, begin, until)):
        vulnerability, walked = stands_for(name, lambda some: _links(connection, some, "", until))
        before = known.get(name)
        if before == vulnerability:
            connection.execute(delete(consensus_walk).where(walk.stated == name))
        elif before is not None:
            connection.execute(delete(consensus_name).where(table.stated == name))
            connection.execute(delete(consensus_walk).where(walk.stated == name))
            _touch_moved(connection, name, before)
        if before != vulnerability:
            connection.execute(insert(consensus_name).values(stated=name, vulnerability=vulnerability))
        connection.execute(insert(consensus_walk), [{"name": each, "stated": name} for each in walked])


def _touch_moved(connection: Connection, name: str, before: str) -> None:
    """Statements that counted for one vulnerability count for another: both have to be worked out."""
    here = _statement.vulnerability == name
    _touch_where(connection, here)
    # Under no name at all, too: perhaps nothing is left that counts for it.
    for stated in ("", before):
        left = select(
            literal(before, TEXT).label("vulnerability"),
            _statement.package,
            literal(stated, TEXT).label("stated"),
        )
        _insert_missing(connection, left.where(here).distinct())


def _unsettled(connection: Connection, begin: int, until: int) -> set[str]:
    """Names that documents which came or went say something about, at any step of the way to what they stand for."""
    walk, link = consensus_walk.c, alias_link.c
    sides = [
        select(walk.stated)
        .join(alias_link, side == walk.name)
        .join(schema.revision, _revision.id == link.revision)
        .where(_changed(begin, until))
        for side in (link.subject, link.object)
    ]
    return set(connection.execute(union(*sides)).scalars())


def _links(
    connection: Connection, names: Collection[str], tenant: str, sequence: int | None
) -> Sequence[Statement]:
    statement = _valid(
        select(*LINKED).join(schema.revision, _revision.id == alias_link.c.revision),
        sequence,
        tenant,
        joined=True,
    )
    return said_of(connection, statement, names)


def _valid(statement: Select[Any], sequence: int | None, tenant: str, *, joined: bool = False) -> Select[Any]:
    """Only of revisions that are valid, and that the tenant may see."""
    if not joined:
        statement = statement.join(schema.revision, _revision.id == _statement.revision)
    return statement.where(valid(sequence), _revision.owner.in_([SHARED, tenant]), ~_revision.withdrawn)


HELD = (
    _statement.vulnerability,
    _statement.package,
    _statement.product,
    _statement.platform,
    _statement.subcomponents,
    _statement.status,
    _statement.justification,
    # As with the times of documents: what lies after the fetch is no instant.
    case((_statement.stated_at <= _revision.fetched_at, _statement.stated_at)).label("stated_at"),
    vex_document.c.issuer,
    vex_document.c.role,
    _revision.source,
    _revision.key,
    _statement.words,
    _statement.revision,
    _statement.position,
    _statement.number,
)
"""The columns of a statement, with those of its document."""


def _select_held(sequence: int | None, tenant: str, *before: ColumnElement[Any]) -> Select[Any]:
    statement = select(*before, *HELD).select_from(vex_statement)
    statement = statement.join(vex_document, vex_document.c.revision == _statement.revision)
    return _valid(statement, sequence, tenant)


def as_held(row: Sequence[Any]) -> Held:
    """The statement of a row of `HELD`."""
    package, product, platform, told = row[1:5]
    subcomponents = tuple(told.split(SEPARATOR)) if told else ()
    return Held(row[0], package, product, platform, subcomponents, *row[5:])


def _held_of_touched(
    connection: Connection, within: ColumnElement[bool], sequence: int
) -> Iterator[tuple[str, Held]]:
    """The statements of a page, under the names that stand for their vulnerabilities."""
    joined = and_(_touched.stated == _statement.vulnerability, _touched.package == _statement.package)
    statement = (
        _select_held(sequence, "", _touched.vulnerability).join(consensus_touched, joined).where(within)
    )
    ordered = statement.order_by(_touched.vulnerability, _touched.package)
    for row in connection.execute(ordered).all():
        yield row[0], as_held(row[1:])


def _decided(held: Iterable[tuple[str, Held]], weights: Weights) -> Iterator[tuple[Subject, Consensus]]:
    """The states of statements that come by vulnerability and package."""
    for _, together in groupby(held, key=lambda pair: (pair[0], pair[1].package)):
        about: dict[Subject, list[Held]] = {}
        for vulnerability, each in together:
            for subject in subjects(vulnerability, each):
                about.setdefault(subject, []).append(each)
        for subject in sorted(about):
            found = decide(subject, about[subject], weights)
            if found is not None:
                yield subject, found


def _next_span(connection: Connection) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """The first and the last pair of the next page."""
    order = (_touched.vulnerability, _touched.package)
    rows = connection.execute(select(*order).order_by(*order).limit(_PAGE)).all()
    return ((rows[0][0], rows[0][1]), (rows[-1][0], rows[-1][1])) if rows else None


def _pair(names: tuple[str, str]) -> ColumnElement[Any]:
    return tuple_(*(literal(name, TEXT) for name in names))


def _kept(connection: Connection, within: ColumnElement[bool]) -> dict[Place, bytes]:
    """The digests of the states that are kept of what a page is about."""
    table = consensus.c
    pairs = select(_touched.vulnerability, _touched.package).where(within).distinct().subquery()
    statement = (
        select(table.vulnerability, table.package, table.id, table.digest)
        .join(pairs, and_(pairs.c.vulnerability == table.vulnerability, pairs.c.package == table.package))
        .where(table.seq_to == OPEN)
    )
    return {(row[0], row[1], bytes(row[2])): bytes(row[3]) for row in connection.execute(statement).all()}


def _keep(
    connection: Connection, found: Mapping[Subject, Consensus], kept: dict[Place, bytes], sequence: int
) -> tuple[int, int]:
    """Write what differs: a state that changed begins at the sequence, one that is gone ends there."""
    fresh: list[tuple[Any, ...]] = []
    closed: list[Place] = []
    for subject, state in found.items():
        key = (subject.vulnerability, subject.package, subject.id())
        old = kept.pop(key, None)
        decided = state.decided
        if old == state.digest:
            continue
        if old is not None:
            closed.append(key)
        about = (subject.product, subject.platform, subject.subcomponent)
        said = (decided.status, decided.justification, state.conflict, state.digest)
        fresh.append((*key, sequence, OPEN, *about, *said))
    closed += kept
    _close(connection, closed, sequence)
    if fresh:
        dialect_of(connection).insert_many(connection, consensus, fresh, keep=False)
    return len(found) + len(kept), len(fresh) + len(kept)


def _mine() -> ColumnElement[bool]:
    table = consensus.c
    keys = (table.vulnerability, table.package, table.id)
    return and_(
        *(key == bindparam(name) for key, name in zip(keys, "vpi", strict=True)), table.seq_to == OPEN
    )


# One that began at the very sequence at which it ends was never seen by anybody.
_DROP = delete(consensus).where(_mine(), consensus.c.seq_from == bindparam("at"))
_CLOSE = update(consensus).where(_mine()).values(seq_to=bindparam("at"))


def _close(connection: Connection, keys: Sequence[Place], sequence: int) -> None:
    if keys:
        rows = [dict(zip("vpi", key, strict=True)) | {"at": sequence} for key in keys]
        connection.execute(_DROP, rows)
        connection.execute(_CLOSE, rows)
