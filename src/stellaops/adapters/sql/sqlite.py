"""Stores in SQLite files: for one machine, with no server."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Table, case, cast, create_engine, event, func, or_, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import Text

from stellaops.adapters.sql.address import Address, SqliteFile
from stellaops.adapters.sql.errors import StoreBusy, StoreConflict, StoreDamaged, StoreFull, StoreReadOnly
from stellaops.adapters.sql.turns import Turns
from stellaops.core.errors import DependencyFailed, StellaError

_BUSY_SECONDS = 60

_PRAGMAS = (
    "page_size = 16384",  # documents are of a few KB: fewer overflow pages and fewer writes, half the CPU of 4096
    "journal_mode = WAL",
    "synchronous = NORMAL",  # with WAL: no damage at power loss; `settle` makes an import durable
    "foreign_keys = ON",
    "recursive_triggers = ON",  # so that REPLACE meets the guards against removal
    "cache_size = -65536",  # 64 MiB
    "temp_store = FILE",
    "journal_size_limit = 67108864",
    "wal_autocheckpoint = 16384",
)

# The other half of the aggregation-only contract: what was stored stays, byte for byte. The only update that a
# revision ever sees is the closing of its interval.
_GUARD = """
    CREATE TRIGGER IF NOT EXISTS {name} BEFORE {verb} ON {table} {when}
    BEGIN SELECT RAISE(ABORT, '{problem}'); END
"""
_KEPT = (
    ("document", "document_is_immutable", "UPDATE", "ERR_AOC_MUTATION: a stored document cannot be changed"),
    ("raw_block", "raw_block_is_immutable", "UPDATE", "ERR_AOC_MUTATION: stored bytes cannot be changed"),
    ("container", "container_is_immutable", "UPDATE", "ERR_AOC_PROVENANCE: provenance cannot be changed"),
    ("container", "container_is_kept", "DELETE", "ERR_AOC_PROVENANCE: what container holds cannot be removed"),
    ("tombstone", "tombstone_is_immutable", "UPDATE", "ERR_AOC_MUTATION: what tombstone holds cannot be changed"),
)  # fmt: skip
# Retention removes what ended at the floor of the evidence or before it, and nothing else.
_FLOOR = "coalesce((SELECT floor FROM evidence_floor), 0)"
_REMOVED_BY_RETENTION = (
    ("revision", f"OLD.seq_to > {_FLOOR}"),
    ("tombstone", f"OLD.seq > {_FLOOR}"),
    ("document", "EXISTS (SELECT 1 FROM revision WHERE revision.id = OLD.id)"),
    ("raw_block", "EXISTS (SELECT 1 FROM document WHERE document.raw_block = OLD.id)"),
)
_REVISION_IS_IMMUTABLE = """
    WHEN OLD.seq_to <> {open_end} OR NEW.seq_to <= OLD.seq_from OR NEW.id <> OLD.id OR NEW.owner <> OLD.owner
      OR NEW.source <> OLD.source OR NEW.key <> OLD.key OR NEW.digest <> OLD.digest
      OR NEW.raw_digest <> OLD.raw_digest OR NEW.seq_from <> OLD.seq_from OR NEW.container <> OLD.container
      OR NEW.path <> OLD.path OR NEW.fetched_at <> OLD.fetched_at OR NEW.withdrawn <> OLD.withdrawn
      OR NEW.severity <> OLD.severity OR NEW.stated_at IS NOT OLD.stated_at OR NEW.tlp <> OLD.tlp
      OR NEW.file_offset <> OLD.file_offset
"""


class Sqlite:
    """`Dialect` of SQLite: one writer at a time, who holds the file; many readers."""

    first_schema = 1
    migrates_itself = True

    def open(self, address: Address, schema: str) -> Engine:
        """See the protocol. The file is made when absent; committed imports are fully durable."""
        if not isinstance(address, SqliteFile):
            raise TypeError(address)
        _make(address.path.parent)
        engine = create_engine(
            f"sqlite:///{address.path}",
            poolclass=QueuePool,
            connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
        )
        event.listen(engine, "connect", _configure)
        # Services write the service store from many threads at once; evidence has one writer at a time, for long.
        turns = Turns(engine, address.path) if schema == "service" else None
        event.listen(engine, "begin", partial(_begin, turns))
        with engine.connect():
            return engine

    def begin_writing(self, connection: Connection, *, durable: bool) -> None:
        """See the protocol; `_begin` takes the lock."""

    def begin_migrating(self, connection: Connection) -> None:
        """See the protocol: a write transaction keeps every other one out."""

    def error(self, error: Exception, where: object) -> StellaError | None:
        """See the protocol."""
        return _ours(error, where)

    def insert_many(
        self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, keep: bool
    ) -> None:
        """See the protocol."""
        connection.exec_driver_sql(_insert(table, keep), list(rows))

    def stage(self, connection: Connection, staged: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """See the protocol."""
        connection.exec_driver_sql(_upsert(staged), list(rows))

    def take_ids(self, connection: Connection, table: Table, count: int) -> Sequence[int]:
        """See the protocol: the write transaction holds the file until it ends."""
        first = connection.execute(select(func.coalesce(func.max(table.c.id), 0) + 1)).scalar_one()
        return range(first, first + count)

    def is_one_of(self, column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
        """See the protocol."""
        wanted = func.json_each(msgspec.json.encode(list(values)).decode()).table_valued("value")
        return column.in_(select(wanted.c.value))

    def json_text(self, value: ColumnElement[Any], name: str, wanted: Sequence[str]) -> ColumnElement[bool]:
        """See the protocol."""
        return func.json_extract(cast(value, Text), f"$.{name}").in_(wanted)

    def json_list(
        self, value: ColumnElement[Any], name: str, wanted: Sequence[str], *, before_colon: bool = False
    ) -> ColumnElement[bool]:
        """See the protocol."""
        items = func.json_each(cast(value, Text), f"$.{name}").table_valued("value")
        item = items.c.value
        matches: ColumnElement[bool] = item.in_(wanted)
        if before_colon:
            colon = func.instr(item, ":")
            matches = or_(matches, case((colon > 0, func.substr(item, 1, colon - 1)), else_=item).in_(wanted))
        return select(text("1")).select_from(items).where(matches).exists()

    def damage(self, connection: Connection) -> Sequence[str]:
        """See the protocol."""
        found = connection.exec_driver_sql("PRAGMA quick_check").scalars().all()
        return [line for line in found if line != "ok"]

    def guards(self, open_end: int) -> Sequence[str]:
        """See the protocol."""
        when = _REVISION_IS_IMMUTABLE.format(open_end=open_end)
        closing = _GUARD.format(
            name="revision_is_immutable", verb="UPDATE", table="revision", when=when,
            problem="ERR_AOC_MUTATION: a revision can only be closed, once",
        )  # fmt: skip
        kept = [
            _GUARD.format(name=name, verb=verb, table=table, when="", problem=problem)
            for table, name, verb, problem in _KEPT
        ]
        kept += [
            _GUARD.format(
                name=f"{table}_is_kept", verb="DELETE", table=table, when=f"WHEN {needed}",
                problem=f"ERR_AOC_MUTATION: what {table} holds cannot be removed",
            )
            for table, needed in _REMOVED_BY_RETENTION
        ]  # fmt: skip
        return (*kept, closing)

    def drop_guards(self, connection: Connection) -> None:
        """See the protocol."""
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars()
        for name in names.all():
            connection.exec_driver_sql(f"DROP TRIGGER {name}")

    def note_oldest(self, connection: Connection, oldest: int) -> None:
        """See the protocol."""
        connection.exec_driver_sql(f"PRAGMA user_version = {oldest}")

    def noted_oldest(self, connection: Connection) -> int:
        """See the protocol."""
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())

    def align_ids(self, connection: Connection, tables: Sequence[Table]) -> None:
        """See the protocol: ids follow the greatest that is there."""

    def settle(self, engine: Engine) -> None:
        """See the protocol: the write-ahead log goes into the file and onto the disk, as far as readers allow."""
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            raw.close()

    @contextmanager
    def lock(self, engine: Engine, locks: Path | None, name: str) -> Iterator[bool]:
        """See the protocol. The lock is the kernel's: it ends with the process, however that ends."""
        place = locks or Path(engine.url.database or "").parent / "locks"
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"import-{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock"
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def bytes(self, engine: Engine) -> int:
        """See the protocol: the file with its write-ahead log."""
        base = engine.url.database or ""
        files = (Path(base + ending) for ending in ("", "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(turns: Turns | None, connection: Connection) -> None:
    # Deferred transactions that turn into writers fail at once when another writer came first: take the lock now.
    write = connection.get_execution_options().get("stella_write", False)
    if write and turns is not None:
        turns.begin(connection)
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@cache
def _insert(table: Table, keep: bool) -> str:
    columns = ", ".join(column.name for column in table.columns)
    marks = ", ".join("?" for _ in table.columns)
    tail = " ON CONFLICT DO NOTHING" if keep else ""
    return f"INSERT INTO {table.name} ({columns}) VALUES ({marks}){tail}"


@cache
def _upsert(staged: Table) -> str:
    keys = [column.name for column in staged.primary_key]
    updates = ", ".join(f"{c.name} = excluded.{c.name}" for c in staged.columns if c.name not in keys)
    return f"""{_insert(staged, False)}
        ON CONFLICT ({", ".join(keys)}) DO UPDATE SET {updates}
        WHERE (coalesce(excluded.stated_at, -1), staged.digest, staged.raw_digest)
            > (coalesce(staged.stated_at, -1), excluded.digest, excluded.raw_digest)"""


_READ_ONLY = (
    "readonly",
    "read-only",
    "unable to open",
    "permission denied",
    "exists",
    "not a directory",
    "no such",
)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        # What lies above it is made too, so nothing can be absent: /proc and its like answer so.
        reason = "its file system takes none" if error.errno == errno.ENOENT else error.strerror
        raise StoreReadOnly(f"the directory {directory} cannot be made: {reason}") from error


def _ours(error: Exception, where: object) -> StellaError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    words = f"{where}: {cause}"
    lowered = str(cause).lower()
    if "full" in lowered or "disk i/o" in lowered:
        return StoreFull(words)
    if "locked" in lowered or "busy" in lowered:
        return StoreBusy(words)
    if isinstance(error, IntegrityError) and "unique constraint" in lowered:
        return StoreConflict(words)
    if any(word in lowered for word in _READ_ONLY):
        return StoreReadOnly(words)
    if isinstance(error, OperationalError | sqlite3.OperationalError):
        return DependencyFailed(words)
    return StoreDamaged(words)


SQLITE = Sqlite()
