"""Reading the evidence for exports: in key order, page by page, in short transactions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, and_, literal, or_, select, tuple_
from sqlalchemy.sql import ColumnElement, FromClause, Select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.dialect import Dialect
from stellaops.adapters.sql.engine import dialect_of, reading
from stellaops.adapters.sql.java_schema import java_artefact
from stellaops.adapters.sql.normalizing import StoredDocument, normalized
from stellaops.adapters.sql.pruning import floor_of
from stellaops.adapters.sql.raw_blocks import RawBlocks
from stellaops.adapters.sql.sources import instant
from stellaops.advisories import databases
from stellaops.advisories.documents.epss import EpssFeed, scores
from stellaops.advisories.documents.registry import ARTEFACT_FEEDS
from stellaops.advisories.severity import Severity
from stellaops.bundles.content import SnapshotDigest
from stellaops.bundles.freshness import Checked
from stellaops.bundles.jsonl.shards import Line, raw_line
from stellaops.bundles.manifest import Source
from stellaops.bundles.rows import normalized_line, upstream_line
from stellaops.bundles.trivy.buckets import bucket_named
from stellaops.bundles.trivy.java_db import JavaRow
from stellaops.bundles.trivy.marks import ABOUT, NO_SCORES, Scores
from stellaops.bundles.trivy.values import decode_detail, keeps_id
from stellaops.bundles.trivy.vulnerability_db import AdvisoryEntry, DataSource, DetailEntry
from stellaops.core.digests import sha256
from stellaops.exports.ports import Selection, Snapshot, StoredBill
from stellaops.exports.profile import Kind
from stellaops.exports.selectors import TLP_ORDER, Selectors
from stellaops.ingest.feeds import OWNED, Side, side_of
from stellaops.ingest.import_documents import microseconds
from stellaops.ingest.model import SHARED, owner_of

_PAGE = 2000
_BODY_PAGE = 500
_SBOMS: Kind = "sboms"

revision, document = schema.revision, schema.document
_PLACE = (revision.c.owner, revision.c.source, revision.c.key)


class SqlEvidence:
    """`exports.ports.Evidence`, `RowSource`, `TrivyRows` and `JavaRows` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sequence(self) -> int:
        """See the port."""
        with reading(self._engine) as connection:
            return int(connection.execute(select(schema.head.c.seq)).scalar_one())

    def floor(self) -> int:
        """See the port."""
        with reading(self._engine) as connection:
            return floor_of(connection)

    def sources(self) -> Sequence[str]:
        """See the port."""
        with reading(self._engine) as connection:
            return sorted(connection.execute(select(schema.source.c.name)).scalars())

    def unfinished(self) -> Sequence[str]:
        """See the port. A later import that is only staging shows nothing yet and stops nobody."""
        job, source = schema.job, schema.source
        statement = (
            select(job.c.source)
            .join(source, source.c.name == job.c.source)
            .where(or_(job.c.state == "applying", and_(job.c.state == "staging", ~source.c.complete)))
            .order_by(job.c.source)
        )
        with reading(self._engine) as connection:
            return connection.execute(statement).scalars().all()

    def checked(self) -> Mapping[str, datetime | None]:
        """See the port."""
        statement = select(schema.source.c.name, schema.source.c.checked_at)
        with reading(self._engine) as connection:
            return {row.name: instant(row.checked_at) for row in connection.execute(statement)}

    def read_states(self) -> tuple[Checked, ...]:
        """When each source was last read, and whether to its end."""
        columns = (schema.source.c.name, schema.source.c.checked_at, schema.source.c.complete)
        with reading(self._engine) as connection:
            rows = connection.execute(select(*columns)).all()
        return tuple(Checked(row.name, instant(row.checked_at), bool(row.complete)) for row in rows)

    def snapshot(self, selection: Selection, keep: Callable[[bytes], None] | None = None) -> Snapshot:
        """See the port."""
        digest = SnapshotDigest(keep)
        newest: dict[str, int | None] = {}
        counts: Counter[str] = Counter()
        columns = (*_PLACE, revision.c.digest, revision.c.stated_at)
        for row in self._shared_then_owned(selection, columns, _PAGE):
            digest.add(row[0], row[1], row[2], row[3])
            counts[row[1]] += 1
            known = newest.get(row[1])
            newest[row[1]] = row[4] if known is None else max(known, row[4] or known)
        with reading(self._engine) as connection:
            registry = {row.name: row for row in connection.execute(select(schema.source))}
        sources = tuple(
            Source(name, registry[name].database, registry[name].licence, instant(stated))
            for name, stated in sorted(newest.items())
        )
        return Snapshot(digest.digest(), digest.records, sources, counts)

    def raw_lines(self, selection: Selection) -> Iterator[Line]:
        """See the port: the canonical bytes are copied."""
        columns = (*_PLACE, revision.c.digest, revision.c.raw_digest, document.c.verbatim, document.c.body)
        statement = self._selected(selection, *columns).join(document, document.c.id == revision.c.id)
        for owner, source, key, digest, raw_digest, verbatim, body in self._by_source(
            selection, statement, _BODY_PAGE
        ):
            yield Line(owner, source, key, raw_line(source, key, digest, raw_digest, body, verbatim=verbatim))

    def index_lines(self, selection: Selection) -> Iterator[Line]:
        """See the port."""
        index = schema.index_row.alias("line")
        statement = self._selected(selection, *_PLACE, index.c.value).join(
            index, index.c.revision == revision.c.id
        )
        for owner, source, key, value in self._by_source(selection, statement, _PAGE):
            yield Line(owner, source, key, value)

    def sboms(self, selection: Selection) -> Iterator[StoredBill]:
        """See the port."""
        index = schema.index_row.alias("line")
        columns = (*_PLACE, document.c.verbatim, document.c.body, index.c.value)
        only = replace(selection, records=(_SBOMS,))
        for row in self._shared_then_owned(only, columns, _BODY_PAGE, (document, index)):
            yield StoredBill(row[0], row[1], row[2], bool(row[3]), bytes(row[4]), bytes(row[5]))

    def upstream_lines(self, selection: Selection) -> Iterator[Line]:
        """See the port: where the fetched bytes differ from the canonical ones, out of their block."""
        columns = (
            *_PLACE, revision.c.raw_digest, document.c.body, document.c.raw_block, document.c.raw_start,
            document.c.raw_length,
        )  # fmt: skip
        blocks = RawBlocks(self._engine)
        for owner, source, key, digest, body, block, start, length in self._shared_then_owned(
            selection, columns, _BODY_PAGE, (document,)
        ):
            record = bytes(body) if block is None else blocks.slice(block, start, length)
            yield Line(owner, source, key, upstream_line(source, key, digest, record))

    def normalized_lines(self, selection: Selection) -> Iterator[Line]:
        """See the port: documents are read again by their feed, since nothing else needs them in these forms."""
        columns = (*_PLACE, revision.c.path, document.c.verbatim, document.c.body, document.c.context)
        with reading(self._engine) as connection:
            feeds = {row.name: row.feed for row in connection.execute(select(schema.source))}
        for owner, source, key, path, verbatim, body, context in self._shared_then_owned(
            selection, columns, _BODY_PAGE, (document,)
        ):
            stored = StoredDocument(feeds[source], path, bool(verbatim), bytes(body), context or "")
            for name, normal in normalized(stored, key):
                yield Line(owner, source, name, normalized_line(source, name, sha256(normal), normal))

    def advisories(self, selection: Selection) -> Iterator[AdvisoryEntry]:
        """See the port."""
        table = schema.trivy_advisory
        place = (table.c.bucket, table.c.package, table.c.vulnerability, table.c.revision)
        statement = self._selected(selection, *place, table.c.strength, table.c.value).join(
            table, table.c.revision == revision.c.id
        )
        for bucket, package, vulnerability, _, strength, value in self._pages(statement, place, _PAGE):
            yield bucket, package, vulnerability, strength, value

    def details(self, selection: Selection) -> Iterator[DetailEntry]:
        """See the port. Of one vulnerability: by the database's rank, then by source and key."""
        table, detail, source = schema.trivy_vulnerability, schema.trivy_detail, schema.source
        place = (table.c.vulnerability, table.c.revision, table.c.part)
        statement = (
            self._selected(selection, *place, *_PLACE, source.c.database, detail.c.value)
            .join(table, table.c.revision == revision.c.id)
            .join(detail, and_(detail.c.revision == table.c.revision, detail.c.part == table.c.part))
            .join(source, source.c.name == revision.c.source)
        )
        group: list[tuple[Any, ...]] = []
        for row in self._pages(statement, place, _BODY_PAGE):
            if group and group[0][0] != row[0]:
                yield from _in_merge_order(group)
                group = []
            group.append(row)
        yield from _in_merge_order(group)

    def scores(self, selection: Selection) -> Scores:
        """See the port: of the newest day. Of several documents about it, the one of the bytewise last source."""
        source = schema.source
        statement = (
            self._selected(selection, revision.c.key, document.c.body)
            .join(document, document.c.id == revision.c.id)
            .join(source, source.c.name == revision.c.source)
            .where(source.c.feed == EpssFeed.name)
            .order_by(revision.c.key.desc(), revision.c.source.desc())
            .limit(1)
        )
        with reading(self._engine) as connection:
            found = connection.execute(statement).first()
        return NO_SCORES if found is None else Scores(found.key, scores(found.body))

    def data_sources(self, selection: Selection) -> dict[str, DataSource]:
        """See the port. Where two databases write one bucket, the one of the better rank names it."""
        table, source = schema.trivy_advisory, schema.source
        pairs = (
            self._selected(selection, table.c.bucket, source.c.database)
            .join(table, table.c.revision == revision.c.id)
            .join(source, source.c.name == revision.c.source)
            .distinct()
        )
        with reading(self._engine) as connection:
            rows = connection.execute(pairs).all()
        found: dict[str, databases.Database] = {}
        for bucket, name in rows:
            if bucket == ABOUT:
                continue
            database = databases.get(name) or databases.GENERIC
            if bucket not in found or (database.rank, database.name) < (
                found[bucket].rank,
                found[bucket].name,
            ):
                found[bucket] = database
        return {bucket: _data_source(bucket, database) for bucket, database in found.items()}

    def problems(self, selection: Selection) -> Iterator[str]:
        """See the port."""
        table = schema.trivy_problem
        place = (*_PLACE, table.c.number)
        statement = self._selected(
            selection, *place, table.c.bucket, table.c.package, table.c.constraint_text, table.c.reason
        ).join(table, table.c.revision == revision.c.id)
        for _, source, key, _, bucket, package, constraint, reason in self._pages(statement, place, _PAGE):
            yield f"{source} {key}: {bucket} {package}: {constraint!r} left out: {reason}"

    def artefacts(self, selection: Selection) -> Iterator[JavaRow]:
        """See the port."""
        table = java_artefact.c
        place = (
            table.group_id,
            table.artifact_id,
            table.version,
            table.archive_type,
            table.sha1,
            table.revision,
        )
        statement = self._selected(selection, *place).join(java_artefact, table.revision == revision.c.id)
        last: JavaRow | None = None
        for group, artifact, version, archive_type, sha1, _ in self._pages(statement, place, _PAGE):
            row = (group, artifact, version, archive_type, bytes(sha1))
            if row != last:
                yield row
            last = row

    def chosen(self, selection: Selection, keys: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Which documents of some, by source and key, a selection holds."""
        sources = set(self._sources(selection))
        wanted = {each for each in keys if each[0] in sources}
        statement = self._selected(selection, revision.c.source, revision.c.key).where(
            revision.c.source.in_(sorted({source for source, _ in wanted})),
            revision.c.key.in_(sorted({key for _, key in wanted})),
        )
        with reading(self._engine) as connection:
            return sorted(wanted & {(row[0], row[1]) for row in connection.execute(statement)})

    def _selected(self, selection: Selection, *columns: ColumnElement[Any]) -> Select[Any]:
        return selected(dialect_of(self._engine), selection, *columns)

    def _shared_then_owned(
        self,
        selection: Selection,
        columns: Sequence[ColumnElement[Any]],
        size: int,
        joined: Sequence[FromClause] = (),
    ) -> Iterator[tuple[Any, ...]]:
        """Rows that begin with `_PLACE`, in its order, of tables of one row a revision.

        What is the tenant's own comes after what is shared, since the owner of that is empty. No selector of advisories
        says anything of it.
        """
        shared = tuple(kind for kind in selection.records if kind != _SBOMS)
        wanted = [replace(selection, records=shared)] if shared or not selection.records else []
        if _SBOMS in selection.records:
            own = Selectors(tlp_at_most=selection.selectors.tlp_at_most)
            wanted.append(replace(selection, records=(_SBOMS,), selectors=own))
        for each in wanted:
            statement = self._selected(each, *columns)
            for table in joined:
                one = table.c.id if table is document else table.c.revision
                statement = statement.join(table, one == revision.c.id)
            yield from self._by_source(each, statement, size)

    def _by_source(
        self, selection: Selection, statement: Select[Any], size: int
    ) -> Iterator[tuple[Any, ...]]:
        """Rows that begin with `_PLACE`, in its order.

        One source after the other, so that every page is one range of the index: with a choice of owners and sources
        in the statement SQLite would pass over all rows before the page again.
        """
        for owner in sorted({SHARED, selection.tenant}):
            for name in self._sources(selection):
                part = statement.where(revision.c.owner == owner, revision.c.source == name)
                yield from self._pages(part, (revision.c.key,), size, begin=2)

    def _sources(self, selection: Selection) -> list[str]:
        table = schema.source
        with reading(self._engine) as connection:
            rows = connection.execute(select(table.c.name, table.c.feed)).all()
        chosen = selection.selectors.sources
        return sorted(
            row.name
            for row in rows
            if (not chosen or row.name in chosen)
            and owner_of(row.name) in ("", selection.tenant)
            and (
                kind_of(row.feed) in selection.records
                if selection.records
                else side_of(row.feed) not in OWNED
            )
        )

    def _pages(
        self, statement: Select[Any], place: Sequence[ColumnElement[Any]], size: int, begin: int = 0
    ) -> Iterator[tuple[Any, ...]]:
        """Rows in the order of `place`, in pages of their own transactions.

        Args:
            begin: where its columns begin among those of the statement.
        """
        ordered = statement.order_by(*place).limit(size)
        after: tuple[Any, ...] | None = None
        while True:
            page = ordered if after is None else ordered.where(tuple_(*place) > _typed(place, after))
            with reading(self._engine) as connection:
                rows = connection.execute(page).all()
            yield from map(tuple, rows)
            if len(rows) < size:
                return
            after = tuple(rows[-1][begin : begin + len(place)])


def _typed(place: Sequence[ColumnElement[Any]], values: tuple[Any, ...]) -> ColumnElement[Any]:
    return tuple_(*(literal(value, column.type) for column, value in zip(place, values, strict=True)))


def _in_merge_order(group: list[tuple[Any, ...]]) -> Iterator[DetailEntry]:
    """The details of one vulnerability; none where no document puts it under a package."""
    if not any(keeps_id(row[7]) for row in group):
        return

    def order(row: tuple[Any, ...]) -> tuple[Any, ...]:
        database = databases.get(row[6]) or databases.GENERIC
        return (database.rank, database.name, row[3], row[4], row[5], row[2])

    for row in sorted(group, key=order) if len(group) > 1 else group:
        database = databases.get(row[6]) or databases.GENERIC
        yield row[0], database.trivy_id, decode_detail(row[7])


def kind_of(feed: str) -> str:
    """What a feed's records are, as selections name it."""
    side = side_of(feed)
    if side in OWNED:
        return _SBOMS if side is Side.SBOMS else "policy"
    if side is Side.VEX:
        return "vex"
    return "artefacts" if feed in ARTEFACT_FEEDS else "advisories"


def _data_source(bucket: str, database: databases.Database) -> DataSource:
    name = bucket.partition("::")[2] if bucket_named(bucket).language else database.title
    return DataSource(database.trivy_id, name, database.url)


def selected(dialect: Dialect, selection: Selection, *columns: ColumnElement[Any]) -> Select[Any]:
    """Revisions of a selection; the index row is joined only where a selector looks into it."""
    selectors = selection.selectors
    statement = select(*columns).select_from(revision).where(
        revision.c.owner.in_([SHARED, selection.tenant]),
        revision.c.seq_from <= selection.sequence,
        revision.c.seq_to > selection.sequence,
        revision.c.tlp.in_(TLP_ORDER[: TLP_ORDER.index(selectors.tlp_at_most) + 1]),
    )  # fmt: skip
    if selectors.sources:
        statement = statement.where(revision.c.source.in_(selectors.sources))
    if selectors.severity_at_least is not Severity.UNKNOWN:
        bound: ColumnElement[bool] = revision.c.severity >= int(selectors.severity_at_least)
        if selectors.keep_unknown_severity:
            bound = or_(bound, revision.c.severity == int(Severity.UNKNOWN))
        statement = statement.where(bound)
    elif not selectors.keep_unknown_severity:
        statement = statement.where(revision.c.severity > int(Severity.UNKNOWN))
    statement = _fetched(statement, revision.c.fetched_at >= _micro(selectors.since), selectors.since)
    statement = _fetched(statement, revision.c.fetched_at < _micro(selectors.until), selectors.until)
    return _by_index_row(dialect, statement, selectors)


def _fetched(statement: Select[Any], bound: ColumnElement[bool], given: datetime | None) -> Select[Any]:
    return statement if given is None else statement.where(bound)


def _micro(given: datetime | None) -> int:
    return 0 if given is None else microseconds(given)


def _by_index_row(dialect: Dialect, statement: Select[Any], selectors: Selectors) -> Select[Any]:
    packages = (*selectors.packages, *selectors.products)
    if not (selectors.ecosystems or packages or selectors.ids):
        return statement
    index = schema.index_row.alias("chosen")
    value = index.c.value
    statement = statement.join(index, index.c.revision == revision.c.id)
    if selectors.ecosystems:
        statement = statement.where(
            dialect.json_list(value, "ecosystems", selectors.ecosystems, before_colon=True)
        )
    if packages:
        statement = statement.where(dialect.json_list(value, "packages", packages))
    if selectors.ids:
        own = dialect.json_text(value, "id", selectors.ids)
        alias = dialect.json_list(value, "aliases", selectors.ids)
        stated = dialect.json_list(value, "vulnerabilities", selectors.ids)
        statement = statement.where(or_(own, alias, stated, revision.c.key.in_(selectors.ids)))
    return statement
