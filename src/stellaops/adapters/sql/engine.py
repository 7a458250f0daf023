"""Opening a store: connection settings, transactions, and the errors of the driver as ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import QueuePool

from stellaops.core.errors import DependencyFailed, MissingPrerequisite, NotTrusted, StellaError


class StoreFull(MissingPrerequisite):
    """No room on the disk of the store."""

    code = "ERR_STORE_FULL"
    hint = "Free room on the disk of the data directory, then run the same command again: it goes on where it was."


class StoreReadOnly(MissingPrerequisite):
    """The store cannot be written."""

    code = "ERR_STORE_READ_ONLY"
    hint = (
        "Give the user that runs stella write permission on the data directory, or choose another --data-dir."
    )


class StoreBusy(DependencyFailed):
    """Another process holds the store for longer than the waiting time."""

    code = "ERR_STORE_BUSY"
    hint = "Wait for the other stella process, then run the command again."


class StoreDamaged(NotTrusted):
    """The store's file is not a sound database."""

    code = "ERR_STORE_DAMAGED"
    hint = "Restore the data directory from a backup, or move it away and import again."


_BUSY_SECONDS = 60


def open_sqlite(path: Path) -> Engine:
    """An engine on a SQLite file, made when absent; write-ahead logging, full durability of committed imports."""
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            f"sqlite:///{path}",
            poolclass=QueuePool,
            connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
        )
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        with engine.connect():
            return engine


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in (
        "page_size = 8192",  # documents are of a few KB: fewer overflow pages, a third less CPU than with 4096
        "journal_mode = WAL",
        "synchronous = NORMAL",  # with WAL: no damage at power loss; `checkpoint` makes an import durable
        "foreign_keys = ON",
        "recursive_triggers = ON",  # so that REPLACE meets the guards against removal
        "cache_size = -65536",  # 64 MiB
        "temp_store = FILE",
        "journal_size_limit = 67108864",
        "wal_autocheckpoint = 16384",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # Deferred transactions that turn into writers fail at once when another writer came first: take the lock now.
    write = connection.get_execution_options().get("stella_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One write transaction; rolled back on any error."""
    with (
        translated(engine.url.database),
        engine.connect().execution_options(stella_write=True) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One read transaction: everything read inside is of one state."""
    with translated(engine.url.database), engine.connect() as connection, connection.begin():
        yield connection


def checkpoint(engine: Engine) -> None:
    """Bring the write-ahead log into the file and onto the disk, as far as readers allow."""
    with translated(engine.url.database):
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            raw.close()


@contextmanager
def translated(where: object) -> Iterator[None]:
    """Driver errors as errors of ours that say what to do."""
    try:
        yield
    except (
        DatabaseError,
        sqlite3.DatabaseError,
        PermissionError,
        FileExistsError,
        FileNotFoundError,
        NotADirectoryError,
    ) as error:
        raise _ours(error, where) from error
    except OSError as error:
        if error.errno == 28:
            raise StoreFull(f"no room on the disk of {where}") from error
        if error.errno == 30:
            raise StoreReadOnly(f"{where} is on a read-only file system") from error
        raise


def _ours(error: Exception, where: object) -> StellaError:
    text = str(error.orig) if isinstance(error, DatabaseError) else str(error)
    lowered = text.lower()
    if "full" in lowered or "disk i/o" in lowered:
        return StoreFull(f"{where}: {text}")
    if "locked" in lowered or "busy" in lowered:
        return StoreBusy(f"{where}: {text}")
    readonly = (
        "readonly",
        "read-only",
        "unable to open",
        "permission denied",
        "exists",
        "not a directory",
        "no such",
    )
    if any(word in lowered for word in readonly):
        return StoreReadOnly(f"{where}: {text}")
    if isinstance(error, OperationalError | sqlite3.OperationalError):
        return DependencyFailed(f"{where}: {text}")
    return StoreDamaged(f"{where}: {text}")
