"""Staging of imports on SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from backports import zstd
from sqlalchemy import (
    Connection,
    Engine,
    Row,
    Table,
    and_,
    case,
    cast,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.alias_schema import alias_link
from stellaops.adapters.sql.applying import Applying, current_of, drop_orphans, insert_many, lost
from stellaops.adapters.sql.engine import dialect_of, reading, retried, writing
from stellaops.adapters.sql.java_schema import java_artefact
from stellaops.adapters.sql.pieces import pieces
from stellaops.adapters.sql.sbom_rows import Components
from stellaops.adapters.sql.types import TEXT
from stellaops.adapters.sql.vex_rows import Statements
from stellaops.advisories import databases
from stellaops.advisories.databases import Database
from stellaops.advisories.index import DocumentId
from stellaops.core.digests import sha256
from stellaops.ingest.derive import Derived, derive
from stellaops.ingest.import_documents import microseconds
from stellaops.ingest.model import Batch, Container, ImportReport, Job, Record, Rejected, Source

_BLOCK_BYTES = 256 << 10
_BLOCK_LEVEL = 1
_STAMP = ",".join(f"{name}={version}" for name, version in sorted(schema.VERSIONS.items())) + "@"

job_t, staged_t, revision_t = schema.job, schema.staged, schema.revision


class SqlImports:
    """`ingest.ports.ImportStore` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def begin(self, source: Source, fingerprint: str, now: datetime, *, retry: bool = False) -> Job:
        """See the port. An unfinished import of other inputs is given up; what it had applied stays."""
        with writing(self._engine) as connection:
            _register(connection, source)
            pending = connection.execute(
                select(job_t).where(job_t.c.source == source.name, job_t.c.state != "done")
            ).all()
            for row in pending:
                if row.retry != retry:
                    continue
                if row.fingerprint == fingerprint:
                    connection.execute(update(job_t).where(job_t.c.id == row.id).values(resumed=True))
                    return Job(row.id, source, row.position, retry)
                _give_up(connection, row)
            (number,) = _take_ids(connection, job_t, 1)
            (first_document,) = _take_ids(connection, schema.document, 1)
            connection.execute(
                insert(job_t).values(
                    id=number,
                    source=source.name,
                    fingerprint=fingerprint,
                    state="staging",
                    position=0,
                    first_document=first_document,
                    started_at=microseconds(now),
                    fetched=0,
                    ignored=0,
                    added=0,
                    changed=0,
                    withdrawn=0,
                    vanished=0,
                    quarantined=0,
                    resumed=False,
                    retry=retry,
                    projections=stamp(0),
                )
            )
            return Job(number, source, 0, retry)

    @retried
    def stage(self, job: Job, batch: Batch) -> None:
        """See the port: one transaction, which waits for no other import.

        Raises:
            ImportLost: another process has taken the import over, and ended it.
        """
        # What is staged is made durable by the transactions that apply it.
        with writing(self._engine, durable=False) as connection:
            self._advance(connection, job, batch)
            fresh = _quarantine(connection, job, batch.rejected)
            self._stage_records(connection, job, batch.records)
            if fresh:
                count = {"quarantined": job_t.c.quarantined + fresh}
                connection.execute(update(job_t).where(job_t.c.id == job.id).values(count))

    def _advance(self, connection: Connection, job: Job, batch: Batch) -> None:
        ours = job_t.c.projections == _stamp_at(job_t.c.position)
        advanced = connection.execute(
            update(job_t)
            .where(job_t.c.id == job.id, job_t.c.state != "done")
            .values(
                position=batch.position,
                projections=case((ours, stamp(batch.position)), else_=job_t.c.projections),
                fetched=job_t.c.fetched + len(batch.records) + len(batch.rejected),
                ignored=job_t.c.ignored + batch.ignored,
            )
        )
        if advanced.rowcount == 0:
            raise lost(job)

    def _stage_records(self, connection: Connection, job: Job, records: Sequence[Record]) -> None:
        known = _current(connection, job.source.name, [record.key for record in records])
        kept = [record for record in records if not _is_known(record, known.get(record.key))]
        numbers = _take_ids(connection, schema.document, len(kept))
        ids = {id(record): number for number, record in zip(numbers, kept, strict=True)}
        _write_documents(connection, kept, ids)
        containers = _Containers(connection, job.source, (record.container for record in kept))
        database = databases.get(job.source.database) or databases.GENERIC
        write_rows(connection, ((ids[id(r)], derived(r, job.source.name, database)) for r in kept))
        rows = [
            (
                job.id, job.source.owner, r.key, ids.get(id(r)), r.digest, r.raw_digest, r.stated_at, r.withdrawn,
                r.severity, r.tlp, r.container.fetched_at,
                containers.id_of(r.container) if id(r) in ids else 0, r.path, r.offset,
            )
            for r in records
        ]  # fmt: skip
        if rows:
            dialect_of(connection).stage(connection, staged_t, rows)
        _resolve(connection, job, records)

    def apply(
        self, job: Job, *, prune: Sequence[str], now: datetime, taken_back: Collection[str] = ()
    ) -> ImportReport:
        """See the port: transactions of a few thousand rows, each taking the next sequences."""
        return Applying(self._engine, job).to_end(prune=prune, taken_back=taken_back, now=now)


class _Containers:
    """Ids of the containers of a batch, written together."""

    def __init__(self, connection: Connection, source: Source, used: Iterable[Container]) -> None:
        found = {(one.url, one.digest): one for one in used}
        numbers = _take_ids(connection, schema.container, len(found))
        self._ids = dict(zip(found, numbers, strict=True))
        rows = [
            (number, source.name, one.url, one.digest, one.size, one.fetched_at)
            for number, one in zip(numbers, found.values(), strict=True)
        ]
        insert_many(connection, schema.container, rows)

    def id_of(self, container: Container) -> int:
        return self._ids[container.url, container.digest]


def _register(connection: Connection, source: Source) -> None:
    table = schema.source
    if connection.execute(select(table.c.name).where(table.c.name == source.name)).first() is None:
        connection.execute(
            insert(table).values(
                name=source.name,
                feed=source.feed,
                database=source.database,
                licence=source.licence,
                complete=False,
                vanished=0,
            )
        )


def _give_up(connection: Connection, row: Row[Any]) -> None:
    connection.execute(delete(staged_t).where(staged_t.c.job == row.id))
    connection.execute(update(job_t).where(job_t.c.id == row.id).values(state="done"))
    drop_orphans(connection, row.first_document)


def stamp(position: int) -> str:
    """What a job says of the rows that this release has written for it, up to a position."""
    return f"{_STAMP}{position}"


def _stamp_at(position: ColumnElement[int]) -> ColumnElement[str]:
    return _STAMP + cast(position, TEXT)


def unstamped() -> ColumnElement[bool]:
    """Ended jobs for which some documents may lack rows of this release: another one has read them."""
    mine = or_(job_t.c.projections == "", job_t.c.projections == _stamp_at(job_t.c.position))
    return and_(job_t.c.state == "done", or_(job_t.c.projections.is_(None), ~mine))


def mark_stamped(connection: Connection) -> None:
    """Note that every ended job has its rows."""
    connection.execute(update(job_t).where(unstamped()).values(projections=_stamp_at(job_t.c.position)))


def _take_ids(connection: Connection, table: Table, count: int) -> Sequence[int]:
    return dialect_of(connection).take_ids(connection, table, count)


def _current(connection: Connection, source: str, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    rows = connection.execute(
        select(revision_t.c.key, revision_t.c.digest, revision_t.c.raw_digest).where(
            current_of(source), dialect_of(connection).is_one_of(revision_t.c.key, keys)
        )
    )
    return {key: (digest, raw_digest) for key, digest, raw_digest in rows}


def _is_known(record: Record, known: tuple[str, str] | None) -> bool:
    return known is not None and known[0] == record.digest and known[1] <= record.raw_digest


def _write_documents(connection: Connection, records: Sequence[Record], ids: dict[int, int]) -> None:
    blocks: list[bytes] = []
    places: list[tuple[int, int] | None] = []
    pending: list[bytes] = []
    size = 0
    for record in records:
        if record.raw == record.body:
            places.append(None)
            continue
        places.append((len(blocks), size))
        pending.append(record.raw)
        size += len(record.raw)
        if size >= _BLOCK_BYTES:
            blocks.append(zstd.compress(b"".join(pending), _BLOCK_LEVEL))
            pending, size = [], 0
    if pending:
        blocks.append(zstd.compress(b"".join(pending), _BLOCK_LEVEL))
    numbers = _take_ids(connection, schema.raw_block, len(blocks)) if blocks else ()
    rows = [
        (
            ids[id(record)], record.verbatim, record.body, place and numbers[place[0]], place and place[1],
            len(record.raw), record.context or None, record.checked or None,
        )
        for record, place in zip(records, places, strict=True)
    ]  # fmt: skip
    insert_many(connection, schema.raw_block, list(zip(numbers, blocks, strict=True)))
    insert_many(connection, schema.document, rows)


def derived(record: Record, source: str, database: Database) -> Derived:
    """The rows that are derived from a record."""
    place = DocumentId(source, record.key, record.digest)
    return derive(record.read, database, record.assessment, place)


def write_rows(connection: Connection, revisions: Iterable[tuple[int, Derived]]) -> None:
    """Write derived rows under their revisions' ids; rows that exist stay as they are."""
    index: list[tuple[Any, ...]] = []
    advisories: list[tuple[Any, ...]] = []
    details: list[tuple[Any, ...]] = []
    vulnerabilities: list[tuple[Any, ...]] = []
    problems: list[tuple[Any, ...]] = []
    artefacts: list[tuple[Any, ...]] = []
    links: list[tuple[Any, ...]] = []
    statements = Statements()
    components = Components()
    for number, made in revisions:
        index.append((number, made.index_row))
        links.extend((a.subject, a.object, a.relation.value, a.rule, number) for a in made.links)
        if made.vex is not None:
            statements.add(number, made.vex)
        if made.sbom is not None:
            components.add(number, made.sbom)
        rows = made.projection
        advisories.extend(
            (a.bucket, a.package, a.vulnerability, number, a.strength, a.value) for a in rows.advisories
        )
        for part, told in enumerate(rows.details):
            details.append((number, part, told.value))
            vulnerabilities.extend((name, number, part) for name in told.vulnerabilities)
        problems.extend(
            (number, place, p.bucket, p.package, p.constraint, p.reason)
            for place, p in enumerate(rows.problems)
        )
        artefacts.extend(
            (a.group, a.artifact, a.version, a.archive_type, bytes.fromhex(a.sha1), number)
            for a in rows.artefacts
        )
    insert_many(connection, schema.index_row, index, keep=True)
    insert_many(connection, schema.trivy_advisory, advisories, keep=True)
    insert_many(connection, schema.trivy_detail, details, keep=True)
    insert_many(connection, schema.trivy_vulnerability, vulnerabilities, keep=True)
    insert_many(connection, schema.trivy_problem, problems, keep=True)
    insert_many(connection, java_artefact, artefacts, keep=True)
    insert_many(connection, alias_link, links, keep=True)
    statements.write(connection)
    components.write(connection)


def _quarantine(connection: Connection, job: Job, rejected: Sequence[Rejected]) -> int:
    """Put what cannot be read aside; how many entries are fresh."""
    table = schema.quarantine
    fresh = [item for item in rejected if not _is_set_aside(connection, job, item)]
    containers = _Containers(connection, job.source, (item.container for item in fresh))
    numbers = _take_ids(connection, table, len(fresh))
    for number, item in zip(numbers, fresh, strict=True):
        connection.execute(
            insert(table).values(
                id=number,
                source=job.source.name,
                job=job.id,
                container=containers.id_of(item.container),
                path=item.path,
                file_offset=item.offset,
                raw_digest=sha256(item.raw),
                size=len(item.raw),
                raw=item.raw,
                reason=item.reason,
                detail=item.detail[:500],
                key_hint=item.key_hint,
                context=item.context,
                seen_at=item.container.fetched_at,
            )
        )
    return len(fresh)


def _is_set_aside(connection: Connection, job: Job, item: Rejected) -> bool:
    """Whether the very bytes are in quarantine already; other bytes at their place are closed."""
    table = schema.quarantine
    same_place = (
        table.c.source == job.source.name,
        table.c.path == item.path,
        table.c.file_offset == item.offset,
        table.c.resolved_by.is_(None),
    )
    known = connection.execute(select(table.c.id, table.c.raw_digest).where(*same_place)).first()
    if known is None:
        return False
    same = bool(known.raw_digest == sha256(item.raw))
    told = {"job": job.id} if same else {"resolved_by": job.id}
    connection.execute(update(table).where(table.c.id == known.id).values(told))
    return same


def _resolve(connection: Connection, job: Job, records: Sequence[Record]) -> None:
    """What arrives sound leaves the quarantine, but not what this import put there itself."""
    table = schema.quarantine
    open_entries = connection.execute(
        select(table.c.id, table.c.path, table.c.file_offset).where(
            table.c.source == job.source.name, table.c.resolved_by.is_(None), table.c.job != job.id
        )
    ).all()
    if open_entries:
        arrived = {(record.path, record.offset) for record in records}
        done = [row.id for row in open_entries if (row.path, row.file_offset) in arrived]
        for piece in pieces(done):
            connection.execute(update(table).where(table.c.id.in_(piece)).values(resolved_by=job.id))


def sequence(engine: Engine) -> int:
    """The current sequence."""
    with reading(engine) as connection:
        return int(connection.execute(select(schema.head.c.seq)).scalar_one())
