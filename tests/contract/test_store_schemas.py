"""Schemas: a new store, one brought up to date, and one of a later release, on each database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, delete, inspect, select, text, update

from stellaops.adapters.sql import migrations, schema
from stellaops.adapters.sql.engine import reading, writing
from stellaops.adapters.sql.errors import StoreNotMigrated, StoreTooNew
from stellaops.adapters.sql.migrations import EVIDENCE, SERVICE, Step, migrate, open_checked, state
from stellaops.adapters.sql.projections import SqlProjections
from tests.contract.stores import Place, Store, folder_of, osv, sqlite_place
from tests.support.tools import ROOT

RECORDED = ROOT / "tests" / "data" / "stores"
"""Stores that the release with schema 1 wrote, as SQL; how they came to be stands in the file beside them."""

# Snapshot digests by sequence, as that release said them.
TOLD = (
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "sha256:4fcd841b79c7ec2bf925a07e20cdef3066b9d489de4b381bad1fee04b53b71e7",
    "sha256:3efc6051c63020f11fbe7c0b3ab07f9775c802e89a74b543dd034a1b5de5799b",
    "sha256:0ceb2a30a872b10176fb6c64f173c9d9bcec6861e22573066c702cb17f0980d0",
    "sha256:aad84c582c9bfd28a87614579f8f90e2d8ea9736079c5966fafb84d77d221a19",
    "sha256:2a68505d3329b4395cc53d1cf6ce968eef7548e00d78045ff787bd644dd14e94",
    "sha256:413a8c492f042f447f5a89bedc4360e69711f61f8436223e273d8393341b0fe6",
    "sha256:e55eb10da4fb43f5dff17592a6f4f1fd34aba3b318fbfce311dfb0e532d083f3",
    "sha256:ba65b6a9c82d17d5e239643e2ac45ff98a013a35247fd3c9cc3f2192caea9af0",
    "sha256:bb841436c2b6d802ac5c9e9584cbb55e3d3d1b638e834146fc23016939b5c19d",
)


@pytest.fixture
def recorded(tmp_path: Path) -> Place:
    """Both stores with schema 1."""
    for name in ("evidence", "service"):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as connection:
            connection.executescript((RECORDED / f"{name}-schema-1.sql").read_text(encoding="utf-8"))
    return sqlite_place(tmp_path)


def shape(engine: Engine) -> dict[str, object]:
    """Tables, columns, indexes and triggers, whatever the order in which they came."""
    look = inspect(engine)
    found: dict[str, object] = {
        table: (
            sorted((c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(table)),
            look.get_pk_constraint(table)["constrained_columns"],
            sorted((index["name"], index["column_names"]) for index in look.get_indexes(table)),
        )
        for table in look.get_table_names()
    }
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            triggers = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
            found["triggers"] = sorted(triggers.scalars())
    return found


def test_a_store_of_schema_1_becomes_like_a_new_one_and_says_the_same(
    recorded: Place, tmp_path: Path
) -> None:
    assert state(recorded.opened()).version == 1
    store = recorded.evidence()
    assert [store.digest(sequence) for sequence in range(10)] == list(TOLD)
    assert [entry.path for entry in store.quarantine.list(None)] == ["broken.json"]
    SqlProjections(store.engine).complete()
    fresh = sqlite_place(tmp_path / "fresh").evidence()
    ours, new = shape(store.engine), shape(fresh.engine)
    assert ours == new
    assert list(store.evidence.advisories(store.selection())), "rows of this release were made"


def test_what_was_imported_with_schema_1_goes_on_from_there(recorded: Place) -> None:
    store = recorded.evidence()
    report = store.take(folder_of([osv("GHSA-aaaa-aaaa-aaaa", summary="Later"), osv("GHSA-nnnn-nnnn-nnnn")]))
    assert (report.added, report.changed, report.sequence) == (1, 1, 11)
    assert [store.digest(sequence) for sequence in range(10)] == list(TOLD)


def test_a_service_store_of_schema_1_is_brought_up_to_date(recorded: Place, tmp_path: Path) -> None:
    fresh = sqlite_place(tmp_path / "fresh")
    assert shape(recorded.engine(SERVICE)) == shape(fresh.engine(SERVICE))


def test_a_second_migration_has_nothing_to_do(place: Place) -> None:
    for store in (EVIDENCE, SERVICE):
        engine = place.engine(store)
        assert state(engine, store).pending == ()
        assert migrate(engine, store) == ()


def test_a_later_schema_that_allows_this_release_is_worked_on(store: Store) -> None:
    later = EVIDENCE.version + 1
    with writing(store.engine) as connection:
        connection.execute(schema.schema_step.insert().values(number=later, name="later", oldest=1))
    assert open_checked(store.engine) is store.engine
    assert state(store.engine).version == later
    assert store.take(folder_of([osv()])).added == 1


def test_a_later_schema_that_asks_for_later_releases_is_refused(store: Store) -> None:
    later = EVIDENCE.version + 1
    with writing(store.engine) as connection:
        connection.execute(schema.schema_step.insert().values(number=later, name="later", oldest=later))
    for attempt in (open_checked, state, migrate):
        with pytest.raises(StoreTooNew, match=f"asks for releases that know {later}"):
            attempt(store.engine)


def test_steps_that_are_lacking_are_taken_in_order_each_once(place: Place) -> None:
    engine = place.engine()
    taken: list[int] = []

    def take(number: int, _connection: Connection) -> None:
        taken.append(number)

    more = tuple(Step(EVIDENCE.version + n, f"step {n}", 1, partial(take, n)) for n in (1, 2))
    later = replace(EVIDENCE, steps=(*EVIDENCE.steps, *more))
    assert [name.partition(":")[0] for name in state(engine, later).pending] == [
        f"step {step.number}" for step in more
    ]
    migrate(engine, later)
    migrate(engine, later)
    assert taken == [1, 2]
    assert state(engine, EVIDENCE).version == later.version


def test_a_step_that_fails_leaves_nothing_behind(place: Place) -> None:
    engine = place.engine()

    def broken(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (id INTEGER)"))
        raise RuntimeError("in the middle")

    later = replace(EVIDENCE, steps=(*EVIDENCE.steps, Step(EVIDENCE.version + 1, "broken", 1, broken)))
    with pytest.raises(RuntimeError):
        migrate(engine, later)
    assert not inspect(engine).has_table("half")
    assert state(engine).version == EVIDENCE.version


def test_only_sqlite_migrates_itself(place: Place) -> None:
    engine = place.engine()
    with writing(engine) as connection:
        connection.execute(delete(schema.schema_step).where(schema.schema_step.c.number == EVIDENCE.version))
        connection.execute(
            text("PRAGMA user_version = 1") if engine.dialect.name == "sqlite" else text("SELECT 1")
        )
        if engine.dialect.name != "sqlite":
            connection.execute(schema.schema_step.insert().values(number=1, name="before", oldest=1))
    if engine.dialect.name == "sqlite":
        assert state(open_checked(engine)).pending == ()
    else:
        with pytest.raises(StoreNotMigrated, match=f"step {EVIDENCE.version}"):
            open_checked(engine)


def test_every_column_that_is_added_may_be_null(place: Place) -> None:
    """Releases that do not know a column write rows without it."""
    engine = place.engine()
    look = inspect(engine)
    for table, names in {"document": {"context"}, "quarantine": {"context"}, "job": {"projections"}}.items():
        columns = {column["name"]: column["nullable"] for column in look.get_columns(table)}
        assert all(columns[name] for name in names)


def test_rows_are_made_again_when_another_release_has_dropped_the_tables(store: Store) -> None:
    store.take(folder_of([osv("GHSA-aaaa-aaaa-aaaa"), osv("GHSA-bbbb-bbbb-bbbb")]))
    before = list(store.evidence.advisories(store.selection()))
    with writing(store.engine) as connection:
        schema.trivy_advisory.drop(connection)
    assert state(store.engine).pending == (f"table {schema.trivy_advisory.name}",)
    migrate(store.engine)
    SqlProjections(store.engine).complete()
    assert list(store.evidence.advisories(store.selection())) == before


def test_documents_that_another_release_read_get_rows_of_this_one(store: Store) -> None:
    store.take(folder_of([osv("GHSA-aaaa-aaaa-aaaa")]))
    store.take(folder_of([osv("GHSA-bbbb-bbbb-bbbb")]), "other")
    before = list(store.evidence.advisories(store.selection()))
    with reading(store.engine) as connection:
        second = connection.execute(
            select(schema.job.c.first_document).where(schema.job.c.source == "other")
        ).scalar_one()
    with writing(store.engine) as connection:
        # What a release with other projections would have left.
        for table in schema.PROJECTIONS.sorted_tables:
            connection.execute(delete(table).where(table.c.revision >= second))
        connection.execute(update(schema.job).where(schema.job.c.source == "other").values(projections=None))
    SqlProjections(store.engine).complete()
    assert list(store.evidence.advisories(store.selection())) == before


def test_other_releases_are_told_of_what_this_one_has_read(store: Store) -> None:
    other = {"name": "trivy", "version": 1, "rebuilt_to": 0, "rebuild_until": 0}
    with writing(store.engine) as connection:
        connection.execute(schema.projection.insert().values(other))
    store.take(folder_of([osv("GHSA-aaaa-aaaa-aaaa")]))
    with reading(store.engine) as connection:
        statement = select(schema.projection.c.rebuild_until).where(schema.projection.c.version == 1)
        newest = connection.execute(select(schema.document.c.id)).scalar_one()
        assert (
            newest in connection.execute(statement.where(schema.projection.c.name == "trivy")).scalars().all()
        )


def test_the_steps_are_numbered_without_gaps_and_ask_for_no_later_schema() -> None:
    for store in (migrations.EVIDENCE, migrations.SERVICE):
        assert [step.number for step in store.steps] == list(range(1, len(store.steps) + 1))
        assert all(1 <= step.oldest <= step.number for step in store.steps)
