"""The applying of a staged import on SQL: what changed becomes visible, what is gone is let go of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Exists,
    Row,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    update,
)

from stellaops.adapters.sql import import_counts, schema
from stellaops.adapters.sql.engine import dialect_of, reading, retried, settle, writing
from stellaops.adapters.sql.pieces import pieces
from stellaops.adapters.sql.schema import OPEN
from stellaops.adapters.sql.vex_rows import count_statements
from stellaops.adapters.sql.vex_schema import vex_document
from stellaops.core.errors import DependencyFailed
from stellaops.ingest.import_documents import microseconds
from stellaops.ingest.model import ImportReport, Job, owner_of

_APPLY_ROWS = 20_000
_PIECE = 10_000


job_t, staged_t, revision_t = schema.job, schema.staged, schema.revision

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
SELECT count(*) AS "rows", count(*) FILTER (WHERE old.id IS NULL) AS added,
       count(*) FILTER (WHERE old.digest <> chunk.digest) AS changed,
       count(*) FILTER (WHERE old.digest <> chunk.digest AND chunk.withdrawn AND NOT old.withdrawn) AS withdrawn
FROM (SELECT owner, key, digest, withdrawn {_CHUNK}) AS chunk LEFT JOIN {_OLD}
""")
_COUNT_STATEMENTS = text(f"""
SELECT coalesce(sum(made.statements), 0) AS "rows",
       coalesce(sum(made.statements) FILTER (WHERE old.id IS NULL), 0) AS added,
       coalesce(sum(made.statements) FILTER (WHERE old.digest <> chunk.digest), 0) AS changed,
       coalesce(sum(made.statements) FILTER (
           WHERE old.digest <> chunk.digest AND chunk.withdrawn AND NOT old.withdrawn), 0) AS withdrawn
FROM (SELECT document, owner, key, digest, withdrawn {_CHUNK}) AS chunk
JOIN {vex_document.name} AS made ON made.revision = chunk.document LEFT JOIN {_OLD}
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


_GONE = (revision_t.c.id, revision_t.c.key, revision_t.c.digest)
_CLOSE = update(revision_t).where(revision_t.c.id == bindparam("row")).values(seq_to=bindparam("seq"))


class ImportLost(DependencyFailed):
    """Another process has taken the import of the source over."""

    code = "ERR_IMPORT_LOST"
    hint = "The connection that held the source was lost; see `stella concelier status`, then run the command again."


class Applying:
    """An import whose inputs are all staged, on its way to the end. Every step is a transaction of its own."""

    def __init__(self, engine: Engine, job: Job) -> None:
        self._engine = engine
        self._job = job

    def to_end(self, *, prune: Sequence[str], taken_back: Collection[str], now: datetime) -> ImportReport:
        """Apply everything, and let go of what is gone.

        Args:
            prune, taken_back: see `ingest.ports.ImportStore.apply`.
        """
        self._make_visible_from_now()
        while self._apply_some():
            pass
        if prune:
            while self._prune_some(prune, microseconds(now)):
                pass
        for keys in pieces(self._keys_at(taken_back), _APPLY_ROWS):
            self._take_back(keys, microseconds(now))
        report = self._finish(now=now)
        settle(self._engine)
        return report

    @retried
    def _make_visible_from_now(self) -> None:
        job = self._job
        with writing(self._engine) as connection:
            begun = connection.execute(
                update(job_t).where(job_t.c.id == job.id, job_t.c.state != "done").values(state="applying")
            )
            if begun.rowcount == 0:
                raise lost(job)

    @retried
    def _apply_some(self) -> bool:
        job = self._job
        with writing(self._engine) as connection:
            last = connection.execute(_LAST_OF_CHUNK, {"job": job.id, "rows": _APPLY_ROWS}).scalar()
            if last is None:
                return False
            span = {"job": job.id, "source": job.source.name, "last": last, "open": OPEN}
            counts = connection.execute(_COUNT_CHUNK, span).one()
            self._count_chunk(connection, span, counts)
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

    def _count_chunk(self, connection: Connection, span: Mapping[str, Any], counts: Any) -> None:
        source = self._job.source
        if import_counts.series(source) == import_counts.STATEMENTS:
            counts = connection.execute(_COUNT_STATEMENTS, span).one()
        told = {
            "added": int(counts.added),
            "changed": int(counts.changed),
            # Content that is the same in other bytes.
            "unchanged": int(counts.rows) - int(counts.added) - int(counts.changed),
            "withdrawn": int(counts.withdrawn),
        }
        import_counts.count(connection, source, told)

    @retried
    def _prune_some(self, scopes: Sequence[str], now: int) -> bool:
        job = self._job
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
            select(*_GONE)
            .where(current_of(job.source.name), _within(scopes), ~self._seen(), ~broken.exists())
            .order_by(revision_t.c.key)
            .limit(_APPLY_ROWS)
        )
        with writing(self._engine) as connection:
            rows = connection.execute(gone).all()
            self._let_go(connection, rows, now)
            return bool(rows)

    def _seen(self) -> Exists:
        """Whether a document is among those of this import."""
        # By the whole of its key, else each document would look through all that is staged.
        return exists().where(
            staged_t.c.job == self._job.id,
            staged_t.c.owner == revision_t.c.owner,
            staged_t.c.key == revision_t.c.key,
        )

    def _keys_at(self, paths: Collection[str]) -> list[str]:
        """The keys of the documents that came from some places and are not among those of this import.

        Upstreams name a hundred thousand places and more, of which the store has few: one look at all documents of the
        source costs less than a look for each.
        """
        if not paths:
            return []
        places = paths if isinstance(paths, Set) else frozenset(paths)
        found = select(revision_t.c.key, revision_t.c.path).where(
            current_of(self._job.source.name), ~self._seen()
        )
        with (
            reading(self._engine) as connection,
            connection.execution_options(yield_per=_APPLY_ROWS).execute(found) as rows,
        ):
            return sorted(key for key, path in rows if path in places)

    @retried
    def _take_back(self, keys: Sequence[str], now: int) -> None:
        with writing(self._engine) as connection:
            of_keys = dialect_of(connection).is_one_of(revision_t.c.key, keys)
            gone = select(*_GONE).where(current_of(self._job.source.name), of_keys).order_by(revision_t.c.key)
            self._let_go(connection, connection.execute(gone).all(), now)

    def _let_go(self, connection: Connection, rows: Sequence[Row[Any, Any, Any]], now: int) -> None:
        """Close documents, each with a tombstone under its own sequence."""
        if not rows:
            return
        source = self._job.source
        first = _take_sequences(connection, len(rows))
        closing = [{"row": row.id, "seq": seq} for seq, row in enumerate(rows, first)]
        connection.execute(_CLOSE, closing)
        stones = [
            (seq, source.owner, source.name, row.key, row.digest, now) for seq, row in enumerate(rows, first)
        ]
        insert_many(connection, schema.tombstone, stones)
        gone = sum(
            import_counts.statements_of(connection, source, [row.id for row in piece])
            for piece in pieces(rows, _PIECE)
        )
        import_counts.count(connection, source, {"vanished": gone})
        count = {"vanished": job_t.c.vanished + len(rows)}
        connection.execute(update(job_t).where(job_t.c.id == self._job.id).values(count))

    @retried
    def _finish(self, *, now: datetime) -> ImportReport:
        job = self._job
        with writing(self._engine) as connection:
            row = connection.execute(select(job_t).where(job_t.c.id == job.id)).one()
            keys = connection.execute(
                select(func.count()).select_from(staged_t).where(staged_t.c.job == job.id)
            ).scalar_one()
            rejected = connection.execute(_rejected_count(job)).scalar_one()
            told = {"unchanged": import_counts.known(connection, job), "quarantined": rejected}
            import_counts.count(connection, job.source, told)
            connection.execute(delete(staged_t).where(staged_t.c.job == job.id))
            connection.execute(update(job_t).where(job_t.c.id == job.id).values(state="done"))
            values: dict[str, Any] = {"vanished": schema.source.c.vanished + row.vanished}
            if not job.retry:
                values |= {"checked_at": microseconds(now), "complete": True}
            connection.execute(
                update(schema.source).where(schema.source.c.name == job.source.name).values(values)
            )
            equal_keys = row.fetched - rejected - keys
            if equal_keys:  # else every content that was staged is the one of its key
                drop_orphans(connection, row.first_document)
            _leave_to_others(connection)
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
                equal_keys=equal_keys,
                ignored=row.ignored,
                sequence=connection.execute(select(schema.head.c.seq)).scalar_one(),
                resumed=bool(row.resumed),
                statements=count_statements(connection, job.source),
            )


def lost(job: Job) -> ImportLost:
    """The error of an import that another process has ended."""
    return ImportLost(f"the import of source {job.source.name!r} was taken over by another process")


def insert_many(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, keep: bool = False
) -> None:
    """Write rows, none for none; `keep` leaves those that exist as they are."""
    if rows:
        dialect_of(connection).insert_many(connection, table, rows, keep=keep)


def current_of(source: str) -> Any:
    """The current revisions of a source."""
    owner = owner_of(source)
    return and_(revision_t.c.owner == owner, revision_t.c.source == source, revision_t.c.seq_to == OPEN)


def _within(scopes: Sequence[str]) -> Any:
    return or_(*(func.substr(revision_t.c.key, 1, len(scope)) == scope for scope in scopes))


def _take_sequences(connection: Connection, count: int) -> int:
    """The first of the next sequence numbers; the row stays locked until the transaction ends."""
    head = schema.head
    last = connection.execute(update(head).values(seq=head.c.seq + count).returning(head.c.seq)).scalar_one()
    return int(last) - count + 1


def _rejected_count(job: Job) -> Any:
    table = schema.quarantine
    return select(func.count()).select_from(table).where(table.c.job == job.id, table.c.resolved_by.is_(None))


def drop_orphans(connection: Connection, first: int) -> None:
    """Remove staged content that lost against another content of its key, or whose import was given up.

    Content that another import has staged meanwhile is waiting there, or is an orphan too. In the order of ids, so
    that two imports that end together do not wait for each other.
    """
    table = schema.document
    waiting = select(staged_t.c.document).where(staged_t.c.document == table.c.id)
    used = select(revision_t.c.id).where(revision_t.c.id == table.c.id)
    orphans = connection.execute(
        select(table.c.id).where(table.c.id >= first, ~used.exists(), ~waiting.exists()).order_by(table.c.id)
        .with_for_update()
    ).scalars().all()  # fmt: skip
    for piece in pieces(orphans, _PIECE):
        for projection in schema.PROJECTIONS.tables.values():
            connection.execute(delete(projection).where(projection.c.revision.in_(piece)))
        connection.execute(delete(table).where(table.c.id.in_(piece)))


def _leave_to_others(connection: Connection) -> None:
    """Other releases, which may come back to the store, have rows to make of what this one has read."""
    table = schema.projection
    last = select(func.coalesce(func.max(schema.document.c.id), 0)).scalar_subquery()
    current = or_(
        *(and_(table.c.name == name, table.c.version == version) for name, version in schema.VERSIONS.items())
    )
    connection.execute(update(table).where(~current).values(rebuild_until=last))
