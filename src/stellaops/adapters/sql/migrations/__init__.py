"""Schemas of the stores: numbered steps, one module each, and who may work on what.

A new store is made whole by `create_all` and counts every step as taken; an older one takes the steps it lacks. A
test holds that both ways end in the same schema. Each step names the oldest schema whose releases still read and
write the store after it: a release refuses a store only when that number is above its own schema
(docs/decisions/0014-store-schemas-and-older-releases.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, MetaData, Table, func, inspect, select
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql import (
    alias_schema,
    allowance_schema,
    authority_schema,
    download_token_schema,
    freshness_schema,
    idempotency_schema,
    import_count_schema,
    java_schema,
    listing_schema,
    meter_schema,
    mirror_schema,
    notify_schema,
    policy_schema,
    pull_schema,
    retention_schema,
    sbom_schema,
    schema,
    service_schema,
    session_schema,
    target_schema,
    upkeep_schema,
    vex_schema,
    worker_schema,
)
from stellaops.adapters.sql.dialect import Dialect
from stellaops.adapters.sql.engine import dialect_of, retried, translated, where, writing
from stellaops.adapters.sql.errors import CopyUnfinished, StoreNotMigrated, StoreTooNew
from stellaops.adapters.sql.migrations import (
    evidence_0002_context,
    evidence_0003_by_start,
    evidence_0004_floor,
    projections,
    service_0003_attempts,
    service_0004_storage,
    service_0005_keeps,
    service_0006_by_profile,
)
from stellaops.adapters.sql.migrations.unfinished import unfinished_copy

_PARTS = (
    alias_schema,
    allowance_schema,
    authority_schema,
    download_token_schema,
    freshness_schema,
    idempotency_schema,
    import_count_schema,
    java_schema,
    listing_schema,
    meter_schema,
    mirror_schema,
    notify_schema,
    policy_schema,
    pull_schema,
    retention_schema,
    sbom_schema,
    session_schema,
    target_schema,
    upkeep_schema,
    vex_schema,
    worker_schema,
)  # they declare tables of the schemas
__all__ = ["EVIDENCE", "SERVICE", "State", "Step", "Store", "finish", "migrate", "open_checked", "state"]


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a schema.

    Attributes:
        number: the schema that the step leads to.
        oldest: the oldest schema whose releases still read and write the store afterwards.
        apply: makes the change; what was made already is left alone. None for the first schema.
    """

    number: int
    name: str
    oldest: int
    apply: Callable[[Connection], None] | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """One of the two stores, as this release knows it."""

    name: str
    tables: MetaData
    steps_table: Table
    steps: tuple[Step, ...]

    @property
    def version(self) -> int:
        """The schema of this release."""
        return self.steps[-1].number


@dataclass(frozen=True, slots=True)
class State:
    """How far a store is.

    Attributes:
        version: its schema; 0 where there is none.
        oldest: the oldest schema that its last step allows.
        pending: names of the steps and other changes that this release lacks in it.
    """

    version: int
    oldest: int
    pending: tuple[str, ...]


EVIDENCE = Store(
    "evidence",
    schema.EVIDENCE,
    schema.schema_step,
    (
        Step(1, "documents, revisions and provenance", 1),
        Step(2, "context around records; who made which derived rows", 1, evidence_0002_context.apply),
        Step(3, "revisions by their first sequence", 1, evidence_0003_by_start.apply),
        Step(4, "the floor of the evidence", 1, evidence_0004_floor.apply),
    ),
)
SERVICE = Store(
    "service",
    service_schema.SERVICE,
    service_schema.schema_step,
    (
        Step(1, "profiles and runs", 1),
        Step(2, "numbered steps", 1, lambda connection: None),
        Step(3, "versions, attempts and events of runs", 1, service_0003_attempts.apply),
        Step(4, "bounds of storage", 1, service_0004_storage.apply),
        Step(5, "which runs keep bundles", 1, service_0005_keeps.apply),
        Step(6, "runs by profile", 1, service_0006_by_profile.apply),
    ),
)


def open_checked(engine: Engine, store: Store = EVIDENCE) -> Engine:
    """The engine, when this release can work on its store.

    A SQLite file is made or brought up to date; PostgreSQL is changed by `stella db migrate` alone, so that no
    process changes a schema that others work on.

    Raises:
        StoreTooNew: a later release has made a change that this one cannot work with.
        CopyUnfinished: see there.
        StoreNotMigrated: see there.
    """
    found = state(engine, store)
    if not found.pending:
        return engine
    if not dialect_of(engine).migrates_itself:
        raise StoreNotMigrated(f"{where(engine)}: the {store.name} store lacks: {'; '.join(found.pending)}")
    migrate(engine, store)
    return engine


def state(engine: Engine, store: Store = EVIDENCE) -> State:
    """How far a store is; nothing is changed.

    Raises:
        StoreTooNew: see `open_checked`.
    """
    with translated(where(engine)), engine.connect() as connection:
        return _state(connection, where(engine), store)


@retried
def migrate(engine: Engine, store: Store = EVIDENCE) -> tuple[str, ...]:
    """Make a store, or bring it to this release's schema: one transaction, all or nothing.

    Returns:
        the names of what was done.

    Raises:
        StoreTooNew: see `open_checked`.
    """
    with writing(engine) as connection:
        dialect = dialect_of(connection)
        dialect.begin_migrating(connection)
        found = _state(connection, where(engine), store)
        if found.pending:
            _take_steps(connection, store, found, dialect)
            finish(connection, store)
        return found.pending


def finish(connection: Connection, store: Store) -> None:
    """Everything that a store has beside its tables: guards and first rows. What is there stays."""
    if store is EVIDENCE:
        for guard in dialect_of(connection).guards(schema.OPEN):
            connection.exec_driver_sql(guard)
        if connection.execute(select(schema.head.c.id)).first() is None:
            connection.execute(schema.head.insert().values(id=1, seq=0))


def _take_steps(connection: Connection, store: Store, found: State, dialect: Dialect) -> None:
    if found.version:
        for step in store.steps:
            if step.number > found.version and step.apply is not None:
                step.apply(connection)
    # Tables of their own need no step; nor does a store that begins here.
    store.tables.create_all(connection)
    if store is EVIDENCE:
        projections.make(connection)
    table = store.steps_table
    known = set(connection.execute(select(table.c.number)).scalars())
    first = 1 if found.version else dialect.first_schema
    rows = [
        {"number": step.number, "name": step.name, "oldest": step.oldest}
        for step in store.steps
        if step.number not in known and step.number >= first
    ]
    if rows:
        connection.execute(table.insert(), rows)
    dialect.note_oldest(connection, connection.execute(select(_oldest(table))).scalar_one())


def _oldest(table: Table) -> ColumnElement[int]:
    return func.coalesce(func.max(table.c.oldest), 0)


def _state(connection: Connection, place: str, store: Store) -> State:
    tables = set(inspect(connection).get_table_names())
    version = oldest = dialect_of(connection).noted_oldest(connection)
    if store.steps_table.name in tables:
        table = store.steps_table
        statement = select(func.coalesce(func.max(table.c.number), 0), _oldest(table))
        version, oldest = connection.execute(statement).one()
    if unfinished_copy.name in tables:
        raise CopyUnfinished(f"{place}: the {store.name} store is being copied into")
    if oldest > store.version:
        raise StoreTooNew(
            f"{place}: the {store.name} store has schema {version}, which asks for releases that know {oldest};"
            f" this one knows {store.version}"
        )
    return State(version, oldest, tuple(_pending(tables, version, store)))


def _pending(tables: set[str], version: int, store: Store) -> Sequence[str]:
    if not version:
        return [f"the whole schema, {store.version}"]
    steps = [f"step {step.number}: {step.name}" for step in store.steps if step.number > version]
    if steps:
        return steps
    wanted = set(store.tables.tables)
    if store is EVIDENCE:
        wanted |= set(schema.PROJECTIONS.tables)
    return [f"table {name}" for name in sorted(wanted - tables)]
