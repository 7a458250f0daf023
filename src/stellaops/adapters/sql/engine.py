"""Opening a store, its transactions, and the errors of the drivers as ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from stellaops.adapters.sql.address import Address, SqliteFile
from stellaops.adapters.sql.dialect import Dialect
from stellaops.adapters.sql.errors import StoreConflict, StoreFull, StoreReadOnly
from stellaops.adapters.sql.postgres import POSTGRES, driver_errors
from stellaops.adapters.sql.sqlite import SQLITE
from stellaops.core.errors import StellaError

_DIALECTS: dict[str, Dialect] = {"sqlite": SQLITE, "postgresql": POSTGRES}
_ATTEMPTS = 5
_ABOUT_FILES = (PermissionError, FileExistsError, FileNotFoundError, NotADirectoryError)

P = ParamSpec("P")
T = TypeVar("T")


def dialect_of(bind: Engine | Connection) -> Dialect:
    """What differs on the database of an engine or a connection."""
    return _DIALECTS[bind.dialect.name]


def open_engine(address: Address, schema: str) -> Engine:
    """An engine on a store; its schema is not looked at.

    Args:
        schema: `evidence` or `service`.
    """
    with translated(address):
        return (SQLITE if isinstance(address, SqliteFile) else POSTGRES).open(address, schema)


def where(engine: Engine) -> str:
    """What people call the store."""
    return str(engine.get_execution_options().get("stella_where") or engine.url.database)


@contextmanager
def writing(engine: Engine, *, durable: bool = True) -> Iterator[Connection]:
    """One write transaction; rolled back on any error.

    Args:
        durable: without it a power cut may take the transaction back as a whole, until a durable one follows.
    """
    with (
        translated(where(engine)),
        engine.connect().execution_options(stella_write=True) as connection,
        connection.begin(),
    ):
        dialect_of(engine).begin_writing(connection, durable=durable)
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One read transaction: everything read inside is of one state."""
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with (
        translated(where(engine)),
        engine.connect().execution_options(
            **(options if engine.dialect.name == "postgresql" else {})
        ) as connection,
        connection.begin(),
    ):
        yield connection


def retried(transaction: Callable[P, T]) -> Callable[P, T]:
    """Run a function that is one transaction again when it met another one: a deadlock, the same id at once."""

    @wraps(transaction)
    def attempts(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_ATTEMPTS - 1):
            try:
                return transaction(*args, **kwargs)
            except StoreConflict:
                continue
        return transaction(*args, **kwargs)

    return attempts


def settle(engine: Engine) -> None:
    """After much was written: bring it to where it stays, and let the planner know it."""
    with translated(where(engine)):
        dialect_of(engine).settle(engine)


@contextmanager
def translated(place: object) -> Iterator[None]:
    """Driver errors as errors of ours that say what to do."""
    known: tuple[type[Exception], ...] = (DBAPIError, sqlite3.DatabaseError, *_ABOUT_FILES, *driver_errors())
    try:
        yield
    except known as error:
        raise _ours(error, place) from error
    except OSError as error:
        if error.errno == 28:
            raise StoreFull(f"no room on the disk of {place}") from error
        if error.errno == 30:
            raise StoreReadOnly(f"{place} is on a read-only file system") from error
        raise


def _ours(error: Exception, place: object) -> StellaError:
    return POSTGRES.error(error, place) or SQLITE.error(error, place) or StellaError(f"{place}: {error}")
