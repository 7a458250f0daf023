"""Copying a whole store from one database to another: page by page, resumable, compared at the end.

A store that is still being copied into has a table `unfinished_copy` with the place reached in each table, written in
the transaction of the page; nobody can work on it. When counts and digests of all tables agree, guards are put up and
that table goes, in one transaction: from then on it is a store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    LargeBinary,
    Table,
    delete,
    func,
    inspect,
    literal,
    select,
    tuple_,
    update,
)

from stellaops.adapters.sql import migrations, schema
from stellaops.adapters.sql.engine import dialect_of, reading, settle, where, writing
from stellaops.adapters.sql.migrations.unfinished import ORIGIN, unfinished_copy
from stellaops.adapters.sql.pruning import floor_of, shut_out
from stellaops.core.errors import DependencyFailed, InvalidInput

_PAGE_BYTES = 8 << 20
_FIRST_PAGE = 50
_MOST_ROWS = 10_000
_NOBODY = 1 << 30  # a schema that no release knows: what does not look for an unfinished copy stays out, too


class TargetNotEmpty(InvalidInput):
    """The store to copy into holds something already, and is no unfinished copy of this source."""

    code = "ERR_STORE_COPY_TARGET"
    hint = "Copy into an empty directory or database."


class CopyDiffers(DependencyFailed):
    """The source was changed while it was copied."""

    code = "ERR_STORE_COPY_DIFFERS"
    hint = (
        "End imports and exports on the source, then run the same command again: it copies anew what differs."
    )


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds: rows and SHA-256 by table."""

    store: str
    rows: dict[str, int]
    digests: dict[str, str]


def copy_store(
    source: Engine,
    target: Engine,
    store: migrations.Store,
    progress: Callable[[str, int], None] = lambda table, rows: None,
) -> Copied:
    """Copy a store into an empty one, or go on with that; where the copy is finished and equal, nothing is done.

    Args:
        source: in this release's schema.
        progress: told table and rows so far.

    Raises:
        TargetNotEmpty, CopyDiffers: see there.
    """
    if where(source) == where(target):
        raise TargetNotEmpty(f"{where(target)} cannot be copied into itself")
    with dialect_of(target).lock(target, None, f"copy {store.name}") as held:
        if not held:
            raise TargetNotEmpty(f"another process is copying into {where(target)}", hint="Wait for it.")
        finished = _prepare(source, target, store)
        if finished is not None:
            return finished
        for table in _tables(store):
            _copy_table(source, target, table, progress)
        copied = _compare(source, target, store)
        _complete(target, store)
    settle(target)
    return copied


def _tables(store: migrations.Store) -> Sequence[Table]:
    tables = [table for table in store.tables.sorted_tables if table is not store.steps_table]
    if store is migrations.EVIDENCE:
        tables += schema.PROJECTIONS.sorted_tables
    return tables


def _prepare(source: Engine, target: Engine, store: migrations.Store) -> Copied | None:
    """Make the target ready; answers what it holds when that is the finished copy."""
    with reading(target) as connection:
        marked = inspect(connection).has_table(unfinished_copy.name)
        origin = select(unfinished_copy.c.last).where(_entry(ORIGIN))
        if marked and connection.execute(origin).scalar() != where(source).encode():
            raise TargetNotEmpty(f"{where(target)} holds an unfinished copy of another store")
    if marked:
        return None
    migrations.migrate(target, store)
    filled = _filled(target, store)
    if filled:
        finished, different = _compared(source, target, store)
        if different:
            raise TargetNotEmpty(
                f"{where(target)}: the {store.name} store is not empty: it has rows in {filled}"
            )
        return finished
    with writing(target) as connection:
        dialect = dialect_of(connection)
        dialect.drop_guards(connection)
        dialect.note_oldest(connection, _NOBODY)
        unfinished_copy.create(connection)
        _note(connection, ORIGIN, 0, where(source).encode(), done=True)
        if store is migrations.EVIDENCE:
            # The first rows of a new store; those of the source come in their place.
            connection.execute(delete(schema.head))
            connection.execute(delete(schema.projection))
    return None


def _filled(target: Engine, store: migrations.Store) -> str | None:
    """The first table that holds more than that of a new store does."""
    with reading(target) as connection:
        for table in _tables(store):
            statement = select(*table.primary_key).limit(1)
            is_own = table in (schema.head, schema.projection)
            if not is_own and connection.execute(statement).first() is not None:
                return table.name
    return None


def _copy_table(source: Engine, target: Engine, table: Table, progress: Callable[[str, int], None]) -> None:
    with reading(target) as connection:
        known = connection.execute(select(unfinished_copy).where(_entry(table.name))).first()
    rows, last, done = (known.rows, known.last, known.done) if known else (0, None, False)
    if done:
        return
    after = None if last is None else msgspec.msgpack.decode(last)
    for page in _pages(source, table, after):
        rows += len(page)
        with writing(target) as connection:
            if page:
                dialect_of(connection).insert_many(connection, table, page, keep=False)
                after = [page[-1][place] for place in _key_places(table)]
            last = None if after is None else msgspec.msgpack.encode(after)
            _note(connection, table.name, rows, last, done=not page)
        progress(table.name, rows)


def _pages(engine: Engine, table: Table, after: Sequence[Any] | None) -> Iterator[list[tuple[Any, ...]]]:
    """Rows in the order of the primary key, some megabytes a page, each in a transaction; the last page is empty."""
    key = list(table.primary_key)
    places = _key_places(table)
    size = _FIRST_PAGE
    while True:
        statement = select(table).order_by(*key).limit(size)
        if after is not None:
            statement = statement.where(tuple_(*key) > tuple_(*_typed(key, after)))
        with reading(engine) as connection:
            page = [tuple(row) for row in connection.execute(statement)]
        yield page
        if not page:
            return
        after = [page[-1][place] for place in places]
        per_row = max(1, _weight(table, page) // len(page))
        size = max(1, min(_MOST_ROWS, _PAGE_BYTES // per_row, size * 4))


def _key_places(table: Table) -> list[int]:
    columns = list(table.columns)
    return [columns.index(column) for column in table.primary_key]


def _typed(key: Sequence[Column[Any]], values: Sequence[Any]) -> list[Any]:
    return [literal(value, column.type) for column, value in zip(key, values, strict=True)]


def _weight(table: Table, page: Sequence[tuple[Any, ...]]) -> int:
    large = [place for place, column in enumerate(table.columns) if isinstance(column.type, LargeBinary)]
    return sum(300 + sum(len(row[place] or b"") for place in large) for row in page)


def _compare(source: Engine, target: Engine, store: migrations.Store) -> Copied:
    copied, different = _compared(source, target, store)
    if different:
        with writing(target) as connection:
            for table in different:
                connection.execute(delete(table))
                connection.execute(delete(unfinished_copy).where(_entry(table.name)))
        names = ", ".join(table.name for table in different)
        raise CopyDiffers(f"{where(source)} was changed while it was copied: {names}")
    return copied


def _compared(source: Engine, target: Engine, store: migrations.Store) -> tuple[Copied, list[Table]]:
    """What the target holds, and the tables in which the source holds something else."""
    rows, digests, different = {}, {}, []
    for table in _tables(store):
        here, there = _digest(source, table), _digest(target, table)
        rows[table.name], digests[table.name] = there
        if here != there:
            different.append(table)
    return Copied(store.name, rows, digests), different


def _digest(engine: Engine, table: Table) -> tuple[int, str]:
    hasher = hashlib.sha256()
    count = 0
    for page in _pages(engine, table, None):
        count += len(page)
        for row in page:
            hasher.update(msgspec.msgpack.encode(row))
    return count, f"sha256:{hasher.hexdigest()}"


def _complete(target: Engine, store: migrations.Store) -> None:
    with writing(target) as connection:
        dialect = dialect_of(connection)
        dialect.align_ids(connection, _tables(store))
        oldest = select(func.max(store.steps_table.c.oldest))
        dialect.note_oldest(connection, connection.execute(oldest).scalar_one())
        if store is migrations.EVIDENCE and floor_of(connection):
            shut_out(connection)
        migrations.finish(connection, store)
        unfinished_copy.drop(connection)


def _entry(name: str) -> Any:
    return unfinished_copy.c.name == name


def _note(connection: Connection, name: str, rows: int, last: bytes | None, *, done: bool) -> None:
    values = {"rows": rows, "last": last, "done": done}
    changed = connection.execute(update(unfinished_copy).where(_entry(name)).values(values))
    if changed.rowcount == 0:
        connection.execute(unfinished_copy.insert().values(name=name, **values))
