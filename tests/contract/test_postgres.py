"""What only a server has: logins, lost connections, roles that may not write, guards in its own language."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Column, Engine, Integer, text

from stellaops.adapters.sql import applying, imports, schema
from stellaops.adapters.sql.address import parse_address
from stellaops.adapters.sql.engine import open_engine, reading, writing
from stellaops.adapters.sql.errors import (
    BadStoreAddress,
    StoreBusy,
    StoreDamaged,
    StoreLogin,
    StoreNotMigrated,
    StoreReadOnly,
    StoreUnreachable,
)
from stellaops.adapters.sql.migrations import EVIDENCE, open_checked
from stellaops.core.errors import StellaError
from tests.contract.stores import Place, Store, folder_of, osv, postgres_place
from tests.support.postgres import ROLE, Server


@pytest.fixture
def database(postgres_template: tuple[Server, str]) -> Iterator[str]:
    server, template = postgres_template
    with server.database(template) as name:
        yield name


@pytest.fixture
def place(postgres_server: Server, database: str) -> Iterator[Place]:
    found = postgres_place(postgres_server.url(database))
    with closing(found):
        yield found


@pytest.fixture
def store(place: Place) -> Store:
    return place.evidence()


@pytest.fixture
def role(postgres_server: Server, database: str) -> Iterator[tuple[str, str]]:
    """Name and password of a role that may only read."""
    name, password = "reader", os.urandom(8).hex()
    postgres_server.run(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    postgres_server.run(f"GRANT USAGE ON SCHEMA evidence TO {name}", database)
    postgres_server.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA evidence TO {name}", database)
    yield name, password
    postgres_server.run(f"DROP OWNED BY {name}", database)
    postgres_server.run(f"DROP ROLE {name}")


def engine_over_tcp(server: Server, role: str, database: str, password_file: Path | None) -> Engine:
    url = f"postgresql://{role}@127.0.0.1:{server.port}/{database}"
    return open_engine(parse_address(url, password_file), "evidence")


def failure(engine: Engine) -> StellaError:
    with pytest.raises(StellaError) as caught, reading(engine) as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()
    return caught.value


def test_the_password_comes_out_of_its_file_for_every_connection(
    postgres_server: Server, database: str, role: tuple[str, str], tmp_path: Path
) -> None:
    name, password = role
    file = tmp_path / "password"
    file.write_text("wrong\n", encoding="utf-8")
    engine = engine_over_tcp(postgres_server, name, database, file)
    with pytest.raises(StoreLogin) as caught, reading(engine):
        pass
    file.write_text(f"{password}\n", encoding="utf-8")
    assert open_checked(engine) is engine
    said = repr(engine) + str(engine.url) + repr(caught.value) + str(caught.value.__cause__)
    assert password not in said
    engine.dispose()


def test_a_login_without_password_or_with_a_file_that_is_not_there_says_so(
    postgres_server: Server, database: str, role: tuple[str, str], tmp_path: Path
) -> None:
    without = failure(engine_over_tcp(postgres_server, role[0], database, None))
    assert isinstance(without, StoreLogin)
    missing = failure(engine_over_tcp(postgres_server, role[0], database, tmp_path / "none"))
    assert isinstance(missing, StoreLogin)
    assert "cannot be read" in missing.what


def end_sessions(server: Server, database: str) -> None:
    server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:geheim@127.0.0.1/x",
        "postgres://me:ge%68eim@[::1]/x",
        "postgresql://me@127.0.0.1/x?password=geheim",
        "postgresql://me@127.0.0.1/x?sslmode=require&sslpassword=geheim",
        "postgresql://me:geheim@127.0.0.1:port/x",
        "mysql://me:geheim@127.0.0.1/x",
    ],
)
def test_an_address_with_a_password_or_of_another_kind_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(BadStoreAddress) as caught:
        parse_address(address)
    assert "eheim" not in caught.value.what + caught.value.advice
    assert caught.value.__cause__ is None


def test_a_server_that_is_not_there_is_worth_another_attempt(postgres_server: Server) -> None:
    nobody = failure(open_engine(parse_address("postgresql://me@127.0.0.1:1/x"), "evidence"))
    assert isinstance(nobody, StoreUnreachable)
    unknown = failure(open_engine(parse_address(postgres_server.url("nowhere")), "evidence"))
    assert isinstance(unknown, StoreUnreachable)
    assert "nowhere" in unknown.what


def test_an_empty_database_asks_for_its_migration(postgres_server: Server) -> None:
    with postgres_server.database() as name:
        found = postgres_place(postgres_server.url(name))
        with closing(found), pytest.raises(StoreNotMigrated, match="whole schema"):
            open_checked(found.opened())


def test_a_role_that_may_only_read_can_read_and_is_told_when_it_writes(
    store: Store, postgres_server: Server, database: str, role: tuple[str, str], tmp_path: Path
) -> None:
    store.take(folder_of([osv()]))
    file = tmp_path / "password"
    file.write_text(role[1], encoding="utf-8")
    engine = engine_over_tcp(postgres_server, role[0], database, file)
    with reading(open_checked(engine)) as connection:
        assert connection.execute(text("SELECT count(*) FROM revision")).scalar_one() == 1
    with pytest.raises(StoreReadOnly, match="permission denied"), writing(engine) as connection:
        connection.execute(text("UPDATE head SET seq = 0"))
    engine.dispose()


def _other(column: Column[Any]) -> str:
    """An expression for another value of a column."""
    if isinstance(column.type, Boolean):
        return f"NOT {column.name}"
    return f"{column.name} + 1" if isinstance(column.type, Integer) else f"{column.name} || 'x'"


def _forbidden() -> Iterator[str]:
    """Every statement that would change or remove what is stored."""
    # ruff: noqa: S608 - statements out of our own names
    for table in (schema.document, schema.raw_block, schema.container, schema.tombstone, schema.revision):
        yield f"DELETE FROM {table.name}"
        yield f"TRUNCATE {table.name}"
        if table is not schema.revision:
            yield from (f"UPDATE {table.name} SET {each.name} = {each.name}" for each in table.columns)
    closing = f"seq_to = 1000 WHERE seq_to = {schema.OPEN}"
    for column in schema.revision.columns:
        if column.name == "stated_at":
            yield f"UPDATE revision SET stated_at = NULL, {closing}"
        elif column.name != "seq_to":
            yield f"UPDATE revision SET {column.name} = {_other(column)}, {closing}"
    yield f"UPDATE revision SET seq_to = {schema.OPEN} WHERE seq_to < 1000"
    yield "UPDATE revision SET seq_to = 999 WHERE seq_to < 1000"
    yield "UPDATE revision SET seq_to = seq_from"


def test_what_is_stored_cannot_be_changed_by_any_statement(store: Store) -> None:
    store.take({"a.json": osv("GHSA-a"), "b.json": '{"id":"GHSA-b","affected":[],"affected":[]} '})
    store.take({"a.json": osv("GHSA-a", summary="Changed"), "c.json": osv("GHSA-c")})
    store.take(folder_of([osv("GHSA-a", summary="Changed")]), prune=True)
    before = store.lines(), store.lines(3)
    allowed = []
    for statement in _forbidden():
        try:
            with writing(store.engine) as connection:
                connection.execute(text(statement))
        except StoreDamaged as error:
            assert "ERR_AOC_" in error.what  # noqa: PT017 - all of them are tried
        else:
            allowed.append(statement)
    assert allowed == []
    assert (store.lines(), store.lines(3)) == before


def test_an_import_whose_connections_the_server_ends_goes_on_afterwards(
    store: Store, place: Place, postgres_server: Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = folder_of([osv(f"GHSA-aaaa-bbbb-{number:04}") for number in range(50)])
    monkeypatch.setattr(applying, "_APPLY_ROWS", 10)
    chunks = []

    def ended(connection: Any, count: int) -> int:
        chunks.append(count)
        if len(chunks) == 3:
            end_sessions(postgres_server, database)
        return take(connection, count)

    take = applying._take_sequences
    with monkeypatch.context() as patched:
        patched.setattr(applying, "_take_sequences", ended)
        with pytest.raises(StoreUnreachable):
            store.take(documents)
    assert 0 < store.sequence < 50
    assert list(store.evidence.unfinished()) == ["demo"]
    report = place.evidence().take(documents)
    assert (report.resumed, report.added, report.sequence) == (True, 50, 50)


def test_a_source_is_free_when_the_connection_that_held_it_has_ended(
    store: Store, place: Place, postgres_server: Server, database: str
) -> None:
    other = place.evidence()
    with other.sources.lock("demo"):
        end_sessions(postgres_server, database)
        assert store.take(folder_of([osv()])).added == 1


def test_who_waits_too_long_for_another_is_told_that_the_store_is_busy(store: Store, place: Place) -> None:
    other = place.evidence()
    with writing(store.engine) as holder:
        holder.execute(text("UPDATE head SET seq = seq"))
        with pytest.raises(StoreBusy), writing(other.engine) as connection:  # noqa: PT012 - one transaction
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            connection.execute(text("UPDATE head SET seq = seq"))


def test_staging_waits_for_nobody(store: Store, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    other = place.evidence()

    def staged(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(imports.SqlImports, "apply", staged)
    with writing(store.engine) as holder:
        holder.execute(text("UPDATE head SET seq = seq"))
        with pytest.raises(KeyboardInterrupt):
            other.take(folder_of([osv()]))
    with reading(store.engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM staged")).scalar_one() == 1


def test_texts_of_every_table_compare_by_bytes(store: Store) -> None:
    query = text("""
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'evidence' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'
    """)
    with reading(store.engine) as connection:
        assert connection.execute(query).all() == []


def test_both_stores_lie_in_schemas_of_their_own(
    store: Store, postgres_server: Server, database: str
) -> None:
    query = (
        "SELECT DISTINCT table_schema::text FROM information_schema.tables WHERE table_name = 'schema_step'"
    )
    assert sorted(postgres_server.run(query, database)) == [("evidence",), ("service",)]
    assert postgres_server.run("SELECT current_user::text", database) == [(ROLE,)]
    assert EVIDENCE.name == "evidence"
