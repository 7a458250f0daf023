"""DBOS as it is used here: beside the service store, without pickle, without messages of its own.

On SQLite its tables are in the file of the service store, on PostgreSQL in the schema `dbos` of the same database.
Nothing but this package imports `dbos`, and nothing that works without a queue imports this package.
"""

from __future__ import annotations

import logging
import re
from typing import Any, NoReturn

from dbos import DBOS, DBOSClient, DBOSConfig
from dbos._serialization import DBOSPortableJSONSerializer, DefaultSerializer
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text

from stellaops.adapters.sql.address import Address, PostgresDatabase, SqliteFile
from stellaops.adapters.sql.engine import open_engine, translated
from stellaops.adapters.sql.errors import StoreLogin, StoreNotMigrated
from stellaops.adapters.sql.turns import Turns

APPLICATION = "stella-export"
FLOW = "2"
"""Version of the workflows: another one when their steps change in a way that runs under way would not survive."""
SCHEMA = "dbos"
READ_ONLY = "stella_read_only"
"""The option of a connection whose transactions only read."""

_LOG = logging.getLogger("stellaops.engine")
_BEGUN = "stella_begun"
_ONLY_READS = re.compile(r"\s*SELECT (queues|workflow_schedules|application_versions)\.")
"""How transactions begin that look for settings, several times a second: they need not wait for those who write."""
_POOL = 10
_BUSY_SECONDS = 30
_PRAGMAS = (f"busy_timeout = {_BUSY_SECONDS * 1000}", "foreign_keys = ON", "synchronous = NORMAL")


_EXPECTED = (
    "Contention detected",
    "Exception encountered in asynchronous workflow",
    "Exception encountered in background workflow",
    "is no longer owned by this execution",
    "outcome was not recorded",
    "was cancelled during execution",
)
"""What the engine says of cancelled runs, of those that were taken over, and of tries that met another one."""


class _Forwarded(logging.Handler):
    """What the engine says, under our own name and without traces: runs that fail say so in their records."""

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage().partition("\n")[0][:500]
        expected = any(part in words for part in _EXPECTED)
        _LOG.log(logging.DEBUG if expected else record.levelno, "%s", words)


def _refuse(*_: Any) -> NoReturn:
    raise TypeError("pickled values are not read: whoever can write the database could run code with them")


def quieten() -> None:
    """Take the engine's log over, and shut the door to pickle: rows name the form of their values themselves."""
    logger = logging.getLogger("dbos")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.addHandler(_Forwarded())
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    setattr(DefaultSerializer, "deserialize", _refuse)  # noqa: B010 - a class of the library, not ours to type


def open_tables(address: Address) -> Engine:
    """An engine on the tables of DBOS, made where they are absent and the database is a file.

    Raises:
        StoreNotMigrated: PostgreSQL without them, or with older ones.
    """
    quieten()
    engine = _sqlite(address) if isinstance(address, SqliteFile) else open_engine(address, SCHEMA)
    with translated(address):
        current = _is_current(engine, address)
    if not current:
        if isinstance(address, PostgresDatabase):
            engine.dispose()
            raise StoreNotMigrated(f"{address}: the tables of the queue are absent, or of an earlier release")
        migrate(address)
    return engine


def is_current(address: Address) -> bool:
    """Whether the tables are there as this release needs them."""
    quieten()
    engine = _sqlite(address) if isinstance(address, SqliteFile) else open_engine(address, SCHEMA)
    try:
        with translated(address):
            return _is_current(engine, address)
    finally:
        engine.dispose()


def migrate(address: Address) -> None:
    """Make the tables of DBOS, or bring them up to date; several processes may do so at once."""
    quieten()
    with translated(address):
        DBOS.migrate(_url(address), schema=SCHEMA)


def client(engine: Engine) -> DBOSClient:
    """A client for submitters; errors of the database are raised at once."""
    return DBOSClient(
        system_database_engine=engine,
        dbos_system_schema=SCHEMA,
        serializer=DBOSPortableJSONSerializer(),
        application_name=APPLICATION,
        lazy=True,
        retry_connection_errors=False,
    )


def configuration(engine: Engine, executor: str) -> DBOSConfig:
    """What a worker process is configured with."""
    return {
        "name": APPLICATION,
        "application_version": FLOW,
        "executor_id": executor,
        "system_database_engine": engine,
        "dbos_system_schema": SCHEMA,
        "serializer": DBOSPortableJSONSerializer(),
        "run_migrations": False,
        "log_level": "WARNING",
        "scheduler_polling_interval_sec": 10.0,
        "enable_otlp": False,
    }


def _sqlite(address: SqliteFile) -> Engine:
    # Two connections must never both count what runs and then both start: who may write takes the lock first.
    engine = create_engine(
        f"sqlite:///{address.path}",
        pool_size=_POOL,
        max_overflow=_POOL,
        connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
        execution_options={"stella_where": str(address)},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    turns = Turns(engine, address.path)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.info[_BEGUN] = False

    @event.listens_for(engine, "before_cursor_execute")
    def execute(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if connection.info.get(_BEGUN, True):
            return
        connection.info[_BEGUN] = True
        if connection.get_execution_options().get(READ_ONLY, False) or _ONLY_READS.match(statement):
            connection.exec_driver_sql("BEGIN")
        else:
            turns.begin(connection)

    return engine


def _is_current(engine: Engine, address: Address) -> bool:
    with engine.connect() as connection:
        if "dbos_migrations" not in inspect(connection).get_table_names():
            return False
        found = connection.execute(text("SELECT version FROM dbos_migrations")).scalar()
    return (found or 0) >= _latest(address)


def _latest(address: Address) -> int:
    from dbos._migration import get_dbos_migrations, sqlite_migrations  # noqa: PLC0415 - large, and needed here only

    if isinstance(address, SqliteFile):
        return len(sqlite_migrations)
    return len(get_dbos_migrations(SCHEMA, True, False))


def _url(address: Address) -> str:
    if isinstance(address, SqliteFile):
        return f"sqlite:///{address.path}"
    url = address.url
    if address.password_file is not None:
        try:
            lines = address.password_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreLogin(f"the password file {address.password_file} cannot be read: {error}") from None
        url = url.set(password=lines[0] if lines else "")
    return url.render_as_string(hide_password=False)
