"""Copies of stores between databases: whole, resumable, and no store before they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, inspect, select, text, update

from stellaops.adapters.sql import copying, schema
from stellaops.adapters.sql.copying import CopyDiffers, TargetNotEmpty, copy_store
from stellaops.adapters.sql.engine import reading, writing
from stellaops.adapters.sql.errors import CopyUnfinished, StoreDamaged
from stellaops.adapters.sql.migrations import EVIDENCE, SERVICE, open_checked
from tests.contract.stores import (
    Files,
    Place,
    Store,
    folder_of,
    osv,
    postgres_place,
    sqlite_place,
)
from tests.contract.test_service_store import fill_service, service_content


@pytest.fixture(params=["postgresql", "sqlite"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty place on each database, with no schema."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            found = sqlite_place(tmp_path / "copy")
        else:
            server = request.getfixturevalue("postgres_server")
            found = postgres_place(server.url(stack.enter_context(server.database())))
        stack.callback(found.close)
        yield found


@pytest.fixture
def filled(store: Store) -> Store:
    """A store in which everything has happened, an import that was interrupted too."""
    ids = [f"GHSA-aaaa-bbbb-{number:04}" for number in range(60)]
    store.take(folder_of([osv(name, details="x" * 3000) for name in ids]) | {"broken.json": "{"})
    store.take(folder_of([osv(name, summary="y") for name in ids[:30]]), prune=True)
    store.take({"odd.json": '{"id": "X\\u00e9", "summary": "a", "summary": "b", "affected": []}'}, "odd\x2d1")
    store.take(Files({"a\x00.json": "{", "b.json": osv("GHSA-cccc-cccc-cccc")}, archive=b"archive"), "nul")
    return store


def everything(store: Store) -> tuple[Any, ...]:
    states = [(store.digest(sequence), store.lines(sequence)) for sequence in (0, 30, 60, store.sequence)]
    rows = list(store.evidence.advisories(store.selection()))
    return store.sequence, states, rows, store.reasons(), store.sources.status("default")


def test_a_copy_says_the_same_and_goes_on_alone(filled: Store, target: Place) -> None:
    copied = copy_store(filled.engine, target.opened(), EVIDENCE)
    other = target.evidence()
    assert everything(other) == everything(filled)
    assert copied.rows["document"] == len(filled.lines(60)) + 30 + 2
    report = other.take(folder_of([osv("GHSA-nnnn-nnnn-nnnn"), osv("GHSA-aaaa-bbbb-0001", summary="z")]))
    assert (report.added, report.changed, report.sequence) == (1, 1, filled.sequence + 2)
    with pytest.raises(StoreDamaged, match="ERR_AOC_MUTATION"), writing(other.engine) as connection:
        connection.execute(update(schema.document).values(raw_length=1))


def test_a_service_store_is_copied_too(place: Place, target: Place) -> None:
    source = place.engine(SERVICE)
    fill_service(source)
    copy_store(source, target.opened(SERVICE), SERVICE)
    assert service_content(target.engine(SERVICE)) == service_content(source) != ([], [])


def test_an_interrupted_copy_is_no_store_and_goes_on(
    filled: Store, target: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_FIRST_PAGE", 7)
    monkeypatch.setattr(copying, "_MOST_ROWS", 7)
    engine = target.opened()
    # As if the process ended in the middle of a page's transaction, again and again.
    pages = 0
    while True:
        with monkeypatch.context() as patched:
            patched.setattr(copying, "_note", _ends_after(5, copying._note))
            try:
                copy_store(filled.engine, engine, EVIDENCE)
                break
            except KeyboardInterrupt:
                pages += 1
        if inspect(engine).has_table("unfinished_copy"):
            with pytest.raises(CopyUnfinished):
                open_checked(target.opened())
    assert pages > 5
    assert everything(target.evidence()) == everything(filled)
    assert not inspect(engine).has_table("unfinished_copy")


def _ends_after(times: int, note: Callable[..., None]) -> Callable[..., None]:
    left = [times]

    def noted(connection: Connection, *arguments: Any, **more: Any) -> None:
        note(connection, *arguments, **more)
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    return noted


def test_what_changes_meanwhile_is_noticed_and_copied_anew(
    filled: Store, target: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed_meanwhile(source: Engine, *arguments: Any) -> Any:
        monkeypatch.undo()
        filled.take(folder_of([osv("GHSA-aaaa-bbbb-0001", summary="late")]))
        return copying._compare(source, *arguments)

    monkeypatch.setattr(copying, "_compare", changed_meanwhile)
    engine = target.opened()
    with pytest.raises(CopyDiffers, match="revision"):
        copy_store(filled.engine, engine, EVIDENCE)
    with pytest.raises(CopyUnfinished):
        open_checked(target.opened())
    copy_store(filled.engine, engine, EVIDENCE)
    assert everything(target.evidence()) == everything(filled)


def test_a_flipped_byte_in_the_copy_is_found(
    filled: Store, target: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flipped(source: Engine, other: Engine, store: Any) -> Any:
        monkeypatch.undo()
        with writing(other) as connection:
            first = select(func.min(schema.document.c.id)).scalar_subquery()
            connection.execute(
                update(schema.document).where(schema.document.c.id == first).values(body=b"{}")
            )
        return copying._compare(source, other, store)

    monkeypatch.setattr(copying, "_compare", flipped)
    with pytest.raises(CopyDiffers, match="document"):
        copy_store(filled.engine, target.opened(), EVIDENCE)


def test_a_store_that_holds_something_is_not_copied_into(filled: Store, target: Place) -> None:
    other = target.evidence()
    other.take(folder_of([osv("GHSA-oooo-oooo-oooo")]), "own")
    before = everything(other)
    with pytest.raises(TargetNotEmpty, match="not empty"):
        copy_store(filled.engine, other.engine, EVIDENCE)
    assert everything(other) == before


def test_a_store_is_not_copied_into_itself(filled: Store) -> None:
    with pytest.raises(TargetNotEmpty, match="into itself"):
        copy_store(filled.engine, filled.engine, EVIDENCE)


def test_the_unfinished_copy_of_another_store_is_left_alone(
    filled: Store, target: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(copying, "_note", _ends_after(3, copying._note))
        with pytest.raises(KeyboardInterrupt):
            copy_store(filled.engine, target.opened(), EVIDENCE)
    another = sqlite_place(tmp_path / "another")
    with pytest.raises(TargetNotEmpty, match="another store"):
        copy_store(another.engine(), target.opened(), EVIDENCE)
    another.close()


def test_an_unfinished_import_goes_on_in_the_copy(
    store: Store, target: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    documents = folder_of([osv(f"GHSA-aaaa-bbbb-{number:04}") for number in range(9)])
    with monkeypatch.context() as patched:
        patched.setattr(type(store.imports), "apply", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.take(documents)
    copy_store(store.engine, target.opened(), EVIDENCE)
    report = target.evidence().take(documents)
    assert (report.resumed, report.added) == (True, 9)


def test_ids_that_came_with_the_rows_are_not_given_out_again(filled: Store, target: Place) -> None:
    copy_store(filled.engine, target.opened(), EVIDENCE)
    other = target.evidence()
    with reading(other.engine) as connection:
        last = connection.execute(select(func.max(schema.document.c.id))).scalar_one()
        assert connection.execute(text("SELECT count(*) FROM quarantine")).scalar_one() == 2
    other.take({"new.json": osv("GHSA-nnnn-nnnn-nnnn"), "broken.json": '{"id'}, "new")
    with reading(other.engine) as connection:
        assert connection.execute(select(func.max(schema.document.c.id))).scalar_one() > last
