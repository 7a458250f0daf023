"""Staging and applying of imports on SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from backports import zstd
from sqlalchemy import Connection, Engine, Row, Table, and_, delete, func, insert, or_, select, text, update

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.bulk import bulk_insert
from stellaops.adapters.sql.engine import checkpoint, reading, writing
from stellaops.adapters.sql.schema import OPEN
from stellaops.core.digests import sha256
from stellaops.ingest.import_documents import microseconds
from stellaops.ingest.model import SHARED, Batch, Container, ImportReport, Job, Record, Rejected, Source

_BLOCK_BYTES = 256 << 10
_BLOCK_LEVEL = 1
_APPLY_ROWS = 20_000

job_t, staged_t, revision_t = schema.job, schema.staged, schema.revision

# One content wins for a key inside one import, whatever the order in which they come: the newest stated instant,
# then the smaller digest, then the smaller digest of the raw form.
_STAGE = """
INSERT INTO staged (job, owner, key, document, digest, raw_digest, stated_at, withdrawn, severity, tlp, fetched_at,
                    container, path, file_offset)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (job, owner, key) DO UPDATE SET
  document = excluded.document, digest = excluded.digest, raw_digest = excluded.raw_digest,
  stated_at = excluded.stated_at, withdrawn = excluded.withdrawn, severity = excluded.severity, tlp = excluded.tlp,
  fetched_at = excluded.fetched_at, container = excluded.container, path = excluded.path,
  file_offset = excluded.file_offset
WHERE (coalesce(excluded.stated_at, -1), staged.digest, staged.raw_digest)
    > (coalesce(staged.stated_at, -1), excluded.digest, excluded.raw_digest)
"""

# What an import changes is applied in key order, a chunk a transaction. A staged row with a document is a change: what
# the store has already was staged without one.
_CHUNK = """
FROM staged
WHERE staged.job = :job AND staged.document IS NOT NULL AND staged.key <= :last
  AND staged.key > (SELECT coalesce(applied_key, '') FROM job WHERE id = :job)
"""
_OLD = """
revision AS old ON old.owner = chunk.owner AND old.source = :source AND old.key = chunk.key AND old.seq_to = :open
"""
_LAST_OF_CHUNK = text("""
SELECT max(key) FROM (
  SELECT key FROM staged
  WHERE job = :job AND document IS NOT NULL AND key > (SELECT coalesce(applied_key, '') FROM job WHERE id = :job)
  ORDER BY key LIMIT :rows
) AS chunk
""")
_COUNT_CHUNK = text(f"""
SELECT count(*) AS "rows", coalesce(sum(old.id IS NULL), 0) AS added,
       coalesce(sum(old.digest <> chunk.digest), 0) AS changed,
       coalesce(sum(old.digest <> chunk.digest AND chunk.withdrawn AND NOT old.withdrawn), 0) AS withdrawn
FROM (SELECT owner, key, digest, withdrawn {_CHUNK}) AS chunk LEFT JOIN {_OLD}
""")
_CLOSE_CHUNK = text(f"""
WITH chunk AS (SELECT owner, key, row_number() OVER (ORDER BY key) AS number {_CHUNK})
UPDATE revision SET seq_to = :first - 1 + chunk.number FROM chunk
WHERE revision.owner = chunk.owner AND revision.source = :source AND revision.key = chunk.key
  AND revision.seq_to = :open
""")
_OPEN_CHUNK = text(f"""
INSERT INTO revision (id, owner, source, key, digest, raw_digest, stated_at, withdrawn, severity, tlp, fetched_at,
                      container, path, file_offset, seq_from, seq_to)
SELECT document, owner, :source, key, digest, raw_digest, stated_at, withdrawn, severity, tlp, fetched_at, container,
       path, file_offset, :first - 1 + row_number() OVER (ORDER BY key), :open
{_CHUNK}
""")


class SqlImports:
    """`ingest.ports.ImportStore` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
            number = _next_id(connection, job_t)
            connection.execute(
                insert(job_t).values(
                    id=number,
                    source=source.name,
                    fingerprint=fingerprint,
                    state="staging",
                    position=0,
                    first_document=_next_id(connection, schema.document),
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
                )
            )
            return Job(number, source, 0, retry)

    def stage(self, job: Job, batch: Batch) -> None:
        """See the port: one transaction."""
        with writing(self._engine) as connection:
            containers = _Containers(connection, job.source)
            fresh = _quarantine(connection, job, batch.rejected, containers)
            self._stage_records(connection, job, batch.records, containers)
            connection.execute(
                update(job_t)
                .where(job_t.c.id == job.id)
                .values(
                    position=batch.position,
                    fetched=job_t.c.fetched + len(batch.records) + len(batch.rejected),
                    ignored=job_t.c.ignored + batch.ignored,
                    quarantined=job_t.c.quarantined + fresh,
                )
            )

    def _stage_records(
        self, connection: Connection, job: Job, records: Sequence[Record], containers: _Containers
    ) -> None:
        known = _current(connection, job.source.name, [record.key for record in records])
        kept = [record for record in records if not _is_known(record, known.get(record.key))]
        ids = {
            id(record): number for number, record in enumerate(kept, _next_id(connection, schema.document))
        }
        _write_documents(connection, kept, ids)
        _write_projections(connection, kept, ids)
        rows = [
            (
                job.id, SHARED, r.key, ids.get(id(r)), r.digest, r.raw_digest, r.stated_at, r.withdrawn, r.severity,
                r.tlp, r.container.fetched_at,
                containers.id_of(r.container) if id(r) in ids else 0, r.path, r.offset,
            )
            for r in records
        ]  # fmt: skip
        if rows:
            connection.exec_driver_sql(_STAGE, rows)
        _resolve(connection, job, records)

    def apply(self, job: Job, *, prune: Sequence[str], now: datetime) -> ImportReport:
        """See the port: transactions of a few thousand rows, each taking the next sequences."""
        with writing(self._engine) as connection:
            connection.execute(update(job_t).where(job_t.c.id == job.id).values(state="applying"))
        while self._apply_some(job):
            pass
        if prune:
            while self._prune_some(job, prune, microseconds(now)):
                pass
        report = self._finish(job, now=now)
        checkpoint(self._engine)
        return report

    def _apply_some(self, job: Job) -> bool:
        with writing(self._engine) as connection:
            last = connection.execute(_LAST_OF_CHUNK, {"job": job.id, "rows": _APPLY_ROWS}).scalar()
            if last is None:
                return False
            span = {"job": job.id, "source": job.source.name, "last": last, "open": OPEN}
            counts = connection.execute(_COUNT_CHUNK, span).one()
            span["first"] = _take_sequences(connection, counts.rows)
            if counts.rows > counts.added:
                connection.execute(_CLOSE_CHUNK, span)
            connection.execute(_OPEN_CHUNK, span)
            connection.execute(
                update(job_t)
                .where(job_t.c.id == job.id)
                .values(
                    applied_key=last,
                    added=job_t.c.added + counts.added,
                    changed=job_t.c.changed + counts.changed,
                    withdrawn=job_t.c.withdrawn + counts.withdrawn,
                )
            )
            return True

    def _prune_some(self, job: Job, scopes: Sequence[str], now: int) -> bool:
        seen = select(staged_t.c.key).where(staged_t.c.job == job.id, staged_t.c.key == revision_t.c.key)
        broken = select(schema.quarantine.c.id).where(
            schema.quarantine.c.source == job.source.name,
            or_(
                schema.quarantine.c.path == revision_t.c.path,
                schema.quarantine.c.key_hint == revision_t.c.key,
            ),
            schema.quarantine.c.job == job.id,
            schema.quarantine.c.resolved_by.is_(None),
        )
        gone = (
            select(revision_t.c.id, revision_t.c.key, revision_t.c.digest)
            .where(_current_of(job.source.name), _within(scopes), ~seen.exists(), ~broken.exists())
            .order_by(revision_t.c.key)
            .limit(_APPLY_ROWS)
        )
        with writing(self._engine) as connection:
            rows = connection.execute(gone).all()
            first = _take_sequences(connection, len(rows))
            if rows:
                closing = [(first + number, row.id) for number, row in enumerate(rows)]
                connection.exec_driver_sql("UPDATE revision SET seq_to = ? WHERE id = ?", closing)
            stones = [
                (sequence, SHARED, job.source.name, row.key, row.digest, now)
                for (sequence, _), row in zip(closing if rows else [], rows, strict=True)
            ]
            bulk_insert(connection, schema.tombstone, stones)
            count = {"vanished": job_t.c.vanished + len(rows)}
            connection.execute(update(job_t).where(job_t.c.id == job.id).values(count))
            return bool(rows)

    def _finish(self, job: Job, *, now: datetime) -> ImportReport:
        with writing(self._engine) as connection:
            row = connection.execute(select(job_t).where(job_t.c.id == job.id)).one()
            keys = connection.execute(
                select(func.count()).select_from(staged_t).where(staged_t.c.job == job.id)
            ).scalar_one()
            rejected = connection.execute(_rejected_count(job)).scalar_one()
            connection.execute(delete(staged_t).where(staged_t.c.job == job.id))
            connection.execute(update(job_t).where(job_t.c.id == job.id).values(state="done"))
            values: dict[str, Any] = {"vanished": schema.source.c.vanished + row.vanished}
            if not job.retry:
                values |= {"checked_at": microseconds(now), "complete": True}
            connection.execute(
                update(schema.source).where(schema.source.c.name == job.source.name).values(values)
            )
            _drop_orphans(connection, row.first_document)
            return ImportReport(
                source=job.source.name,
                feed=job.source.feed,
                database=job.source.database,
                read=row.fetched,
                added=row.added,
                changed=row.changed,
                unchanged=keys - row.added - row.changed,
                withdrawn=row.withdrawn,
                vanished=row.vanished,
                quarantined=rejected,
                equal_keys=row.fetched - rejected - keys,
                ignored=row.ignored,
                sequence=connection.execute(select(schema.head.c.seq)).scalar_one(),
                resumed=bool(row.resumed),
            )


class _Containers:
    """Ids of containers, written on first use."""

    def __init__(self, connection: Connection, source: Source) -> None:
        self._connection = connection
        self._source = source
        self._ids: dict[tuple[str, str], int] = {}

    def id_of(self, container: Container) -> int:
        known = self._ids.get((container.url, container.digest))
        if known is not None:
            return known
        table = schema.container
        number = _next_id(self._connection, table)
        self._connection.exec_driver_sql(
            "INSERT INTO container (id, source, url, digest, size, fetched_at) VALUES (?, ?, ?, ?, ?, ?)",
            (number, self._source.name, container.url, container.digest, container.size,
             container.fetched_at),
        )  # fmt: skip
        self._ids[container.url, container.digest] = number
        return number


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
    _drop_orphans(connection, row.first_document)


def _next_id(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.coalesce(func.max(table.c.id), 0) + 1)).scalar_one())


def _current_of(source: str) -> Any:
    return and_(revision_t.c.owner == SHARED, revision_t.c.source == source, revision_t.c.seq_to == OPEN)


def _within(scopes: Sequence[str]) -> Any:
    return or_(*(func.substr(revision_t.c.key, 1, len(scope)) == scope for scope in scopes))


def _current(connection: Connection, source: str, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    wanted = func.json_each(msgspec.json.encode(list(keys)).decode()).table_valued("value")
    rows = connection.execute(
        select(revision_t.c.key, revision_t.c.digest, revision_t.c.raw_digest).where(
            _current_of(source), revision_t.c.key.in_(select(wanted.c.value))
        )
    )
    return {key: (digest, raw_digest) for key, digest, raw_digest in rows}


def _is_known(record: Record, known: tuple[str, str] | None) -> bool:
    return known is not None and known[0] == record.digest and known[1] <= record.raw_digest


def _write_documents(connection: Connection, records: Sequence[Record], ids: dict[int, int]) -> None:
    blocks: list[tuple[int, bytes]] = []
    rows = []
    number = _next_id(connection, schema.raw_block)
    pending: list[bytes] = []
    size = 0
    for record in records:
        place: tuple[int | None, int | None] = (None, None)
        if record.raw != record.body:
            place = (number + len(blocks), size)
            pending.append(record.raw)
            size += len(record.raw)
        rows.append(
            (ids[id(record)], record.verbatim, record.body, *place, len(record.raw), record.context or None)
        )
        if size >= _BLOCK_BYTES:
            blocks.append((number + len(blocks), zstd.compress(b"".join(pending), _BLOCK_LEVEL)))
            pending, size = [], 0
    if pending:
        blocks.append((number + len(blocks), zstd.compress(b"".join(pending), _BLOCK_LEVEL)))
    bulk_insert(connection, schema.raw_block, blocks)
    bulk_insert(connection, schema.document, rows)


def _write_projections(connection: Connection, records: Sequence[Record], ids: dict[int, int]) -> None:
    write_rows(connection, ((ids[id(record)], record) for record in records))


def write_rows(connection: Connection, records: Iterable[tuple[int, Any]]) -> None:
    """Write the projection rows of records under their revision ids; rows that exist stay as they are."""
    index: list[tuple[Any, ...]] = []
    advisories: list[tuple[Any, ...]] = []
    details: list[tuple[Any, ...]] = []
    vulnerabilities: list[tuple[Any, ...]] = []
    problems: list[tuple[Any, ...]] = []
    for number, record in records:
        index.append((number, record.index_row))
        rows = record.projection
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
    bulk_insert(connection, schema.index_row, index, keep=True)
    bulk_insert(connection, schema.trivy_advisory, advisories, keep=True)
    bulk_insert(connection, schema.trivy_detail, details, keep=True)
    bulk_insert(connection, schema.trivy_vulnerability, vulnerabilities, keep=True)
    bulk_insert(connection, schema.trivy_problem, problems, keep=True)


def _quarantine(
    connection: Connection, job: Job, rejected: Sequence[Rejected], containers: _Containers
) -> int:
    table = schema.quarantine
    fresh = 0
    for item in rejected:
        digest = sha256(item.raw)
        same_place = (
            table.c.source == job.source.name,
            table.c.path == item.path,
            table.c.file_offset == item.offset,
            table.c.resolved_by.is_(None),
        )
        known = connection.execute(select(table.c.id, table.c.raw_digest).where(*same_place)).first()
        if known is not None and known.raw_digest == digest:
            connection.execute(update(table).where(table.c.id == known.id).values(job=job.id))
            continue
        if known is not None:
            connection.execute(update(table).where(table.c.id == known.id).values(resolved_by=job.id))
        connection.execute(
            insert(table).values(
                id=_next_id(connection, table),
                source=job.source.name,
                job=job.id,
                container=containers.id_of(item.container),
                path=item.path,
                file_offset=item.offset,
                raw_digest=digest,
                size=len(item.raw),
                raw=item.raw,
                reason=item.reason,
                detail=item.detail[:500],
                key_hint=item.key_hint,
                context=item.context,
                seen_at=item.container.fetched_at,
            )
        )
        fresh += 1
    return fresh


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
        done = [(job.id, row.id) for row in open_entries if (row.path, row.file_offset) in arrived]
        if done:
            connection.exec_driver_sql("UPDATE quarantine SET resolved_by = ? WHERE id = ?", done)


def _take_sequences(connection: Connection, count: int) -> int:
    """The first of the next sequence numbers; the row stays locked until the transaction ends."""
    head = schema.head
    last = connection.execute(update(head).values(seq=head.c.seq + count).returning(head.c.seq)).scalar_one()
    return int(last) - count + 1


def _rejected_count(job: Job) -> Any:
    table = schema.quarantine
    return select(func.count()).select_from(table).where(table.c.job == job.id, table.c.resolved_by.is_(None))


def _drop_orphans(connection: Connection, first: int) -> None:
    """Remove staged content that lost against another content of its key, or whose import was given up."""
    table = schema.document
    waiting = select(staged_t.c.document).where(staged_t.c.document == table.c.id)
    used = select(revision_t.c.id).where(revision_t.c.id == table.c.id)
    orphans = connection.execute(
        select(table.c.id).where(table.c.id >= first, ~used.exists(), ~waiting.exists())
    ).scalars().all()  # fmt: skip
    if not orphans:
        return
    connection.exec_driver_sql("DELETE FROM document WHERE id = ?", [(number,) for number in orphans])
    for projection in schema.PROJECTIONS.tables.values():
        connection.execute(
            delete(projection).where(
                projection.c.revision >= first, projection.c.revision.not_in(select(table.c.id))
            )
        )


def sequence(engine: Engine) -> int:
    """The current sequence."""
    with reading(engine) as connection:
        return int(connection.execute(select(schema.head.c.seq)).scalar_one())
