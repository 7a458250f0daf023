"""Stores in a PostgreSQL database: for many processes and machines at once. Each store is a schema of it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    Boolean,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import Text

from stellaops.adapters.sql.address import Address, PostgresDatabase
from stellaops.adapters.sql.errors import (
    DriverMissing,
    StoreBusy,
    StoreConflict,
    StoreDamaged,
    StoreFull,
    StoreLogin,
    StoreNotMigrated,
    StoreReadOnly,
    StoreUnreachable,
)
from stellaops.adapters.sql.types import to_postgres
from stellaops.core.errors import DependencyFailed, StellaError

_CONNECT = {
    "application_name": "stella",
    "connect_timeout": "10",
    "keepalives_idle": "60",  # a source's lock stands on a connection that is silent for long
    "keepalives_interval": "10",
}
_OPTIONS = (
    "lock_timeout=60s",
    "client_min_messages=warning",
    "timezone=UTC",
    "plan_cache_mode=force_custom_plan",  # a page's bounds decide its plan
)

_REFUSE = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
END $$
"""
_REFUSE_NEEDED = """
CREATE OR REPLACE FUNCTION refuse_needed_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF {needed} THEN
    RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN OLD;
END $$
"""
# Retention removes what ended at the floor of the evidence or before it, and nothing else.
_FLOOR = "coalesce((SELECT floor FROM evidence_floor), 0)"
_NEEDED = {
    "document": "EXISTS (SELECT 1 FROM revision WHERE revision.id = OLD.id)",
    "raw_block": "EXISTS (SELECT 1 FROM document WHERE document.raw_block = OLD.id)",
    "revision": f"OLD.seq_to > {_FLOOR}",
    "tombstone": f"OLD.seq > {_FLOOR}",
}
_GUARD = """
CREATE OR REPLACE TRIGGER {table}_{name} BEFORE {verb} ON {table}
FOR EACH {each} {when} EXECUTE FUNCTION {function}('{code}: {what}')
"""
_CODES = {
    "document": "ERR_AOC_MUTATION",
    "raw_block": "ERR_AOC_MUTATION",
    "revision": "ERR_AOC_MUTATION",
    "tombstone": "ERR_AOC_MUTATION",
    "container": "ERR_AOC_PROVENANCE",
}
_CLOSING = """
WHEN (OLD.seq_to <> {open_end} OR NEW.seq_to <= OLD.seq_from
      OR (OLD.id, OLD.owner, OLD.source, OLD.key, OLD.digest, OLD.raw_digest, OLD.stated_at, OLD.withdrawn,
          OLD.severity, OLD.tlp, OLD.fetched_at, OLD.container, OLD.path, OLD.file_offset, OLD.seq_from)
      IS DISTINCT FROM
         (NEW.id, NEW.owner, NEW.source, NEW.key, NEW.digest, NEW.raw_digest, NEW.stated_at, NEW.withdrawn,
          NEW.severity, NEW.tlp, NEW.fetched_at, NEW.container, NEW.path, NEW.file_offset, NEW.seq_from))
"""


class Postgres:
    """`Dialect` of PostgreSQL, 15 and later."""

    first_schema = 2
    migrates_itself = False

    def open(self, address: Address, schema: str) -> Engine:
        """See the protocol. No connection is made yet."""
        if not isinstance(address, PostgresDatabase):
            raise TypeError(address)
        options = [f"search_path={schema}", *_OPTIONS]
        given = address.url.query.get("options", ())
        words = [given] if isinstance(given, str) else list(given)
        words += [f"-c {option}" for option in options]
        try:
            engine = create_engine(
                address.url.difference_update_query(["options"]),
                connect_args={**_parameters(address), "options": " ".join(words), "prepare_threshold": None},
                execution_options={"stella_schema": schema, "stella_where": str(address)},
                pool_pre_ping=True,
                hide_parameters=True,
            )
        except ImportError as error:
            raise DriverMissing(f"psycopg cannot be loaded: {error}") from error
        if address.password_file is not None:
            event.listen(engine, "do_connect", _with_password(address.password_file))
        return engine

    def begin_writing(self, connection: Connection, *, durable: bool) -> None:
        """See the protocol."""
        if not durable:
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")

    def begin_migrating(self, connection: Connection) -> None:
        """See the protocol."""
        schema = _schema(connection)
        connection.execute(select(func.pg_advisory_xact_lock(_lock_number(schema, "migrate"))))
        if connection.execute(select(func.to_regnamespace(schema))).scalar() is None:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")

    def error(self, error: Exception, where: object) -> StellaError | None:
        """See the protocol."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, driver_errors()):
            return None
        return _ours(cause, where)

    def insert_many(
        self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, keep: bool
    ) -> None:
        """See the protocol: by COPY; through a table of the connection's own where rows may exist."""
        if not keep:
            _copy(connection, table, table.name, rows)
            return
        own = _own_table(connection, table)
        _copy(connection, table, own, rows)
        connection.exec_driver_sql(f"INSERT INTO {table.name} SELECT * FROM {own} ON CONFLICT DO NOTHING")
        connection.exec_driver_sql(f"TRUNCATE {own}")

    def stage(self, connection: Connection, staged: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """See the protocol: by COPY into a table of the connection's own, then one statement."""
        own = _own_table(connection, staged)
        _copy(connection, staged, own, rows)
        connection.exec_driver_sql(_merge(staged, own))
        connection.exec_driver_sql(f"TRUNCATE {own}")

    def take_ids(self, connection: Connection, table: Table, count: int) -> Sequence[int]:
        """See the protocol: out of the table's sequence, which waits for nobody."""
        numbers = text(f"SELECT nextval('{table.name}_id') FROM generate_series(1, :count)")
        return sorted(connection.execute(numbers, {"count": count}).scalars())

    def is_one_of(self, column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
        """See the protocol."""
        wanted = bindparam(None, [to_postgres(value) for value in values], type_=ARRAY(Text))
        return column == func.any(wanted)

    def json_text(self, value: ColumnElement[Any], name: str, wanted: Sequence[str]) -> ColumnElement[bool]:
        """See the protocol."""
        return cast(func.json_extract_path(_json(value), name), Text).in_(_spelt(wanted))

    def json_list(
        self, value: ColumnElement[Any], name: str, wanted: Sequence[str], *, before_colon: bool = False
    ) -> ColumnElement[bool]:
        """See the protocol."""
        items = func.json_array_elements(func.json_extract_path(_json(value), name)).table_valued("value")
        item = cast(items.c.value, Text)
        matches: ColumnElement[bool] = item.in_(_spelt(wanted))
        if before_colon:
            matches = or_(matches, func.split_part(item, ":", 1).in_([word[:-1] for word in _spelt(wanted)]))
        return select(text("1")).select_from(items).where(matches).exists()

    def damage(self, connection: Connection) -> Sequence[str]:
        """See the protocol: the server checks its pages as it reads them, where it was set up with checksums."""
        return ()

    def guards(self, open_end: int) -> Sequence[str]:
        """See the protocol."""
        found = [_REFUSE]
        found += [_REFUSE_NEEDED.format(table=table, needed=needed) for table, needed in _NEEDED.items()]
        for table, code in _CODES.items():
            rules = [
                ("is_emptied_never", "TRUNCATE", "STATEMENT", "", "refuse_change", "cannot be emptied"),
                ("is_kept", "DELETE", "ROW", "", f"refuse_needed_{table}" if table in _NEEDED else "refuse_change",
                 "cannot be removed"),
                ("is_immutable", "UPDATE", "ROW", _CLOSING.format(open_end=open_end) if table == "revision" else "",
                 "refuse_change", "cannot be changed"),
            ]  # fmt: skip
            found += [
                _GUARD.format(
                    table=table, name=name, verb=verb, each=each, when=when, function=function, code=code,
                    what=f"what {table} holds {what}",
                )
                for name, verb, each, when, function, what in rules
            ]  # fmt: skip
        return found

    def drop_guards(self, connection: Connection) -> None:
        """See the protocol."""
        # `refuse_stored` is of stores with an older schema.
        names = ["refuse_change", "refuse_stored", *(f"refuse_needed_{table}" for table in _NEEDED)]
        connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {', '.join(names)} CASCADE")

    def note_oldest(self, connection: Connection, oldest: int) -> None:
        """See the protocol: the table of steps says it."""

    def noted_oldest(self, connection: Connection) -> int:
        """See the protocol."""
        return 0

    def align_ids(self, connection: Connection, tables: Sequence[Table]) -> None:
        """See the protocol."""
        for table in tables:
            if "id" in table.c and table.c.id.default is not None:
                connection.exec_driver_sql(
                    f"SELECT setval('{table.name}_id', (SELECT coalesce(max(id), 0) + 1 FROM {table.name}), false)"
                )

    def settle(self, engine: Engine) -> None:
        """See the protocol: commits are on disk; what changed much is looked at again by the planner."""
        changed = text("""
            SELECT relname FROM pg_stat_user_tables
            WHERE schemaname = current_schema() AND n_mod_since_analyze > 1000 + n_live_tup / 10
        """)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for name in connection.execute(changed).scalars().all():
                connection.exec_driver_sql(f"ANALYZE {name}")

    @contextmanager
    def lock(self, engine: Engine, locks: Path | None, name: str) -> Iterator[bool]:
        """See the protocol. The lock is the connection's: the server ends it with that."""
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            number = _lock_number(_schema(connection), f"source {name}")
            held = bool(connection.execute(select(func.pg_try_advisory_lock(number))).scalar_one())
            try:
                yield held
            finally:
                if held:
                    _unlock(connection, number)

    def bytes(self, engine: Engine) -> int:
        """See the protocol: tables, indexes and large values of the store's schema."""
        size = text("""
            SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class
            WHERE relnamespace = to_regnamespace(current_schema()) AND relkind = 'r'
        """)
        with engine.connect() as connection:
            return int(connection.execute(size).scalar_one())


def driver_errors() -> tuple[type[Exception], ...]:
    """The driver's own errors, where it is loaded: COPY does not pass through SQLAlchemy."""
    driver = sys.modules.get("psycopg")
    return (driver.Error,) if driver is not None else ()


def _parameters(address: PostgresDatabase) -> dict[str, str]:
    return {name: value for name, value in _CONNECT.items() if name not in address.url.query}


def _with_password(file: Path) -> Any:
    def connect(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise StoreLogin(f"the password file {file} cannot be read: {reason}") from None
        parameters["password"] = lines[0] if lines else ""

    return connect


def _schema(connection: Connection) -> str:
    return str(connection.get_execution_options()["stella_schema"])


def _unlock(connection: Connection, number: int) -> None:
    try:
        connection.execute(select(func.pg_advisory_unlock(number)))
    except DBAPIError:
        # The server ended the connection, and the lock with it.
        connection.invalidate()


def _lock_number(schema: str, what: str) -> int:
    digest = hashlib.sha256(f"stella {schema} {what}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


# PostgreSQL refuses to look into JSON with this escape. On both sides of a comparison it is spelt otherwise.
_NULL, _INSTEAD = "\\u0000", "\\u0001\\u0001"


def _json(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(func.replace(func.convert_from(value, "UTF8"), _NULL, _INSTEAD), JSON)


def _spelt(wanted: Iterable[str]) -> list[str]:
    """Texts as canonical JSON spells them, so that they can be compared without being decoded."""
    return [msgspec.json.encode(word).decode().replace(_NULL, _INSTEAD) for word in wanted]


def _own_table(connection: Connection, table: Table) -> str:
    """A table like another one, seen by this connection alone and empty after each transaction."""
    own = f"incoming_{table.name}"
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {own} (LIKE {table.name}) ON COMMIT DELETE ROWS"
    )
    return own


def _copy(connection: Connection, table: Table, into: str, rows: Iterable[tuple[Any, ...]]) -> None:
    names, types, texts = _columns(table)
    raw: Any = connection.connection.dbapi_connection
    with (
        raw.cursor() as cursor,
        cursor.copy(f"COPY {into} ({names}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(types)
        for row in rows:
            copy.write_row(_storable(row, texts))


def _storable(row: tuple[Any, ...], texts: Sequence[int]) -> Sequence[Any]:
    for place in texts:
        value = row[place]
        if value is not None and ("\x00" in value or "\x01" in value):
            return [
                to_postgres(item) if number in texts and item is not None else item
                for number, item in enumerate(row)
            ]
    return row


@cache
def _columns(table: Table) -> tuple[str, list[str], tuple[int, ...]]:
    types = [_type(column.type) for column in table.columns]
    texts = tuple(number for number, name in enumerate(types) if name == "text")
    return ", ".join(column.name for column in table.columns), types, texts


def _type(declared: Any) -> str:
    for kind, name in ((Boolean, "bool"), (LargeBinary, "bytea"), (Text, "text"), (SmallInteger, "int2")):
        if isinstance(declared, kind):
            return name
    return "int4" if type(declared) is Integer else "int8"


@cache
def _merge(staged: Table, own: str) -> str:
    keys = ", ".join(column.name for column in staged.primary_key)
    updates = ", ".join(f"{c.name} = excluded.{c.name}" for c in staged.columns if not c.primary_key)
    # What came first stands first among equals, as it would one by one.
    return f"""
        INSERT INTO {staged.name} SELECT DISTINCT ON ({keys}) * FROM {own}
        ORDER BY {keys}, coalesce(stated_at, -1) DESC, digest, raw_digest, document
        ON CONFLICT ({keys}) DO UPDATE SET {updates}
        WHERE (coalesce(excluded.stated_at, -1), staged.digest, staged.raw_digest)
            > (coalesce(staged.stated_at, -1), excluded.digest, excluded.raw_digest)
    """


_FREE = "Free room on the database server, then run the same command again: it goes on where it was."
_ROLE = "Use a role that may write the store's schemas, on a server that is no standby."
_RESTORE = "Restore the database from a backup; `stella db status` says what it holds."

# By the SQLSTATE, or how it begins; the first that fits.
_ERRORS: tuple[tuple[tuple[str, ...], type[StellaError], str | None], ...] = (
    (("28",), StoreLogin, None),
    (("53100", "58030"), StoreFull, _FREE),
    (("25006", "42501"), StoreReadOnly, _ROLE),
    (("40001", "40P01", "23505"), StoreConflict, None),
    (("55P03", "53300", "57014"), StoreBusy, None),
    (("3F000", "42P01", "42703", "42704"), StoreNotMigrated, None),
    (("08", "57P", "3D000"), StoreUnreachable, None),
    (("22", "23", "XX"), StoreDamaged, _RESTORE),
)
_LOGIN = ("password authentication failed", "no password supplied", "no pg_hba.conf entry")


def _ours(cause: Exception, where: object) -> StellaError:
    said = str(cause).strip() or type(cause).__name__
    words = f"{where}: {said.splitlines()[0]}"
    # What goes wrong before a session exists has no SQLSTATE.
    state = getattr(cause, "sqlstate", None) or ("28" if any(each in said for each in _LOGIN) else "")
    for beginnings, kind, hint in _ERRORS:
        if state.startswith(beginnings):
            return kind(words, hint=hint)
    if not state and type(cause).__name__ in {"OperationalError", "InterfaceError", "ConnectionTimeout"}:
        return StoreUnreachable(words)
    return DependencyFailed(words)


POSTGRES = Postgres()
