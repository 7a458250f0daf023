"""`ingest.pull_ports.PullStore` on an evidence store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, delete, insert, inspect, select, update

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import reading, writing
from stellaops.adapters.sql.pull_schema import (
    TABLES,
    source_database,
    source_definition,
    source_file,
    source_pull,
)
from stellaops.adapters.sql.sources import instant
from stellaops.ingest.import_documents import microseconds
from stellaops.ingest.pull_model import Definition, Known, Outcome, PullState

_PIECE = 500
_ROWS = 20_000
_FRESH: dict[str, Any] = {"cursor": "", "failures": 0, "listed": 0, "error_code": "", "error": ""}
_LONGEST_ERROR = 1000


class SqlPulls:
    """Definitions and states of pulls."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with reading(engine) as connection:
            missing = [table for table in TABLES if not inspect(connection).has_table(table.name)]
        if missing:
            with writing(engine) as connection:
                schema.EVIDENCE.create_all(connection, tables=missing)

    def definitions(self) -> Sequence[Definition]:
        """See the port."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(source_definition).order_by(source_definition.c.name)).all()
        return [
            msgspec.structs.replace(
                msgspec.json.decode(row.definition, type=Definition), enabled=bool(row.enabled)
            )
            for row in rows
        ]

    def save(self, definition: Definition) -> None:
        """See the port."""
        values = {
            "name": definition.name,
            "enabled": definition.enabled,
            "definition": msgspec.json.encode(definition).decode(),
        }
        with writing(self._engine) as connection:
            connection.execute(delete(source_definition).where(source_definition.c.name == definition.name))
            connection.execute(insert(source_definition).values(values))

    def remove(self, name: str) -> bool:
        """See the port."""
        with writing(self._engine) as connection:
            gone = connection.execute(delete(source_definition).where(source_definition.c.name == name))
            connection.execute(delete(source_pull).where(source_pull.c.source == name))
            connection.execute(delete(source_file).where(source_file.c.source == name))
            connection.execute(delete(source_database).where(source_database.c.source == name))
            return gone.rowcount > 0

    def state(self, name: str) -> PullState:
        """See the port."""
        with reading(self._engine) as connection:
            row = connection.execute(select(source_pull).where(source_pull.c.source == name)).first()
        return PullState() if row is None else _state(row)

    def states(self) -> Mapping[str, PullState]:
        """See the port."""
        with reading(self._engine) as connection:
            return {row.source: _state(row) for row in connection.execute(select(source_pull))}

    def known(self, name: str) -> dict[str, Known]:
        """See the port."""
        columns = (source_file.c.path, source_file.c.mark, source_file.c.etag, source_file.c.last_modified,
                   source_file.c.digest)  # fmt: skip
        with reading(self._engine) as connection:
            rows = connection.execute(select(*columns).where(source_file.c.source == name))
            return {path: Known(*told) for path, *told in rows}

    def note_databases(self, name: str, databases: Sequence[str]) -> None:
        """See the port."""
        if sorted(databases) == sorted(self.databases().get(name, ())):
            return
        rows = [{"source": name, "database": each} for each in sorted(set(databases))]
        with writing(self._engine) as connection:
            connection.execute(delete(source_database).where(source_database.c.source == name))
            if rows:
                connection.execute(insert(source_database), rows)

    def databases(self) -> Mapping[str, Sequence[str]]:
        """See the port."""
        found = defaultdict[str, list[str]](list)
        with reading(self._engine) as connection:
            for row in connection.execute(select(source_database).order_by(source_database.c.database)):
                found[row.source].append(row.database)
        return found

    def begin(self, name: str, now: datetime) -> None:
        """See the port."""
        with writing(self._engine) as connection:
            _update(connection, name, {"started_at": microseconds(now)})

    def succeed(
        self,
        name: str,
        outcome: Outcome,
        now: datetime,
        *,
        problem: tuple[str, str] | None,
        next_attempt_at: datetime | None,
    ) -> None:
        """See the port."""
        code, text = problem or ("", "")
        values: dict[str, Any] = {
            "cursor": outcome.cursor,
            "listed": outcome.listed,
            "error_code": code,
            "error": text[:_LONGEST_ERROR],
            "failures": 0 if problem is None else source_pull.c.failures + 1,
            "next_attempt_at": None if next_attempt_at is None else microseconds(next_attempt_at),
        }
        if problem is None:
            values["succeeded_at"] = microseconds(now)
        if outcome.full:
            values["full_at"] = microseconds(now)
        with writing(self._engine) as connection:
            _update(connection, name, values)
            _note_files(connection, name, outcome)
            if problem is None:
                checked = {"checked_at": microseconds(now)}
                connection.execute(update(schema.source).where(schema.source.c.name == name).values(checked))

    def fail(self, name: str, problem: tuple[str, str], next_attempt_at: datetime) -> None:
        """See the port."""
        code, text = problem
        values = {
            "error_code": code,
            "error": text[:_LONGEST_ERROR],
            "failures": source_pull.c.failures + 1,
            "next_attempt_at": microseconds(next_attempt_at),
        }
        with writing(self._engine) as connection:
            _update(connection, name, values)

    def sequence(self) -> int:
        """See the port."""
        with reading(self._engine) as connection:
            return int(connection.execute(select(schema.head.c.seq)).scalar_one())


def _update(connection: Connection, name: str, values: Mapping[str, Any]) -> None:
    # A row is made first, so that what counts up has something to count from.
    if connection.execute(select(source_pull.c.source).where(source_pull.c.source == name)).first() is None:
        connection.execute(insert(source_pull).values(_FRESH | {"source": name}))
    connection.execute(update(source_pull).where(source_pull.c.source == name).values(values))


def _note_files(connection: Connection, name: str, outcome: Outcome) -> None:
    if outcome.replace:
        connection.execute(delete(source_file).where(source_file.c.source == name))
    else:
        for paths in _pieces(outcome.files, _PIECE):
            connection.execute(
                delete(source_file).where(source_file.c.source == name, source_file.c.path.in_(paths))
            )
    for items in _pieces(outcome.files.items(), _ROWS):
        rows = [
            {
                "source": name, "path": path, "mark": known.mark, "etag": known.etag,
                "last_modified": known.last_modified, "digest": known.digest,
            }
            for path, known in items
        ]  # fmt: skip
        connection.execute(insert(source_file), rows)


def _pieces(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece


def _state(row: Row[Any]) -> PullState:
    return PullState(
        cursor=row.cursor,
        failures=row.failures,
        started_at=instant(row.started_at),
        succeeded_at=instant(row.succeeded_at),
        full_at=instant(row.full_at),
        next_attempt_at=instant(row.next_attempt_at),
        listed=row.listed,
        error_code=row.error_code,
        error=row.error,
    )
