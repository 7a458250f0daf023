"""Imports of different sources at the same time: nothing is lost, doubled or mixed, and sequences are commit order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from stellaops.adapters.sql import applying, schema
from stellaops.adapters.sql.applying import ImportLost
from stellaops.adapters.sql.engine import reading, retried
from stellaops.adapters.sql.errors import StoreConflict
from stellaops.adapters.sql.sources import SourceBusy
from stellaops.ingest import import_documents
from stellaops.ingest.model import Batch, Source
from tests.contract.stores import Place, Store, folder_of, osv, sqlite_store

_WORKERS = 4
_SIZE = 120


def _listing(worker: int, *, newer: bool) -> dict[str, object]:
    """Documents of one source; keys are the same in all, and some come twice in one import."""
    files: dict[str, object] = {}
    for number in range(_SIZE):
        name = f"GHSA-aaaa-bbbb-{number:04}"
        if newer and number % 9 == 0:
            continue
        changed = (
            {"summary": f"{worker} {newer}"}
            if not newer or number % 4 == 0
            else {"summary": f"{worker} False"}
        )
        files[f"{name}.json"] = osv(name, aliases=[f"CVE-2024-{20000 + number}"], **changed)
        if number % 13 == 0:
            files[f"again/{name}.json"] = osv(
                name, modified="2024-06-01T00:00:00Z", summary=f"{worker} again"
            )
    files["broken.json"] = "{"
    return files


def _import(newer: bool, store: Store, worker: int) -> None:
    store.take(_listing(worker, newer=newer), f"s{worker}", prune=newer)


def _at_once(place: Place, work: Callable[[Store, int], object], meanwhile: Callable[[], object]) -> None:
    """Work in every worker on a store opened of its own, and something else until all have ended."""
    errors: list[BaseException] = []

    def run(worker: int, store: Store) -> None:
        try:
            work(store, worker)
        except BaseException as error:  # noqa: BLE001 - it is raised by the test
            errors.append(error)

    stores = [place.evidence() for _ in range(_WORKERS)]
    threads = [threading.Thread(target=run, args=each) for each in enumerate(stores)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        meanwhile()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "_APPLY_ROWS", 7)
    monkeypatch.setattr(import_documents, "_BATCH_RECORDS", 11)


def test_four_imports_at_once_are_like_four_after_each_other(
    place: Place, store: Store, tmp_path: Path
) -> None:
    seen: list[tuple[int, str, int]] = []

    def look() -> None:
        sequence = store.sequence
        if not seen or sequence > seen[-1][0]:
            seen.append((sequence, store.digest(sequence), len(store.lines(sequence))))

    for newer in (False, True):
        _at_once(place, partial(_import, newer), look)
    assert len(seen) > 3, "the reader saw states in between"
    # What a reader has seen at a sequence stays what that sequence says: nothing commits below it later.
    for sequence, digest, lines in seen:
        assert (store.digest(sequence), len(store.lines(sequence))) == (digest, lines)
    assert _is_sound(store)
    one_by_one = _one_by_one(tmp_path / "apart")
    assert (store.digest(), store.lines()) == (one_by_one.digest(), one_by_one.lines())
    # Rows of one vulnerability come in the order of their ids; an export unites them whatever that is.
    ours, theirs = (sorted(each.evidence.advisories(each.selection())) for each in (store, one_by_one))
    assert ours == theirs
    assert store.sequence == one_by_one.sequence
    assert sorted(entry.source for entry in store.quarantine.list(None)) == [f"s{n}" for n in range(_WORKERS)]


def _one_by_one(directory: Path) -> Store:
    """The same documents in sources of the same names, one import after the other, in SQLite."""
    found = sqlite_store(directory)
    for newer in (False, True):
        for worker in range(_WORKERS):
            found.take(_listing(worker, newer=newer), f"s{worker}", prune=newer)
    return found


def _is_sound(store: Store) -> bool:
    revision, document, staged = schema.revision, schema.document, schema.staged
    with reading(store.engine) as connection:

        def values(statement: Any) -> list[Any]:
            return list(connection.execute(statement).scalars())

        starts = values(select(revision.c.seq_from))
        stones = values(select(schema.tombstone.c.seq))
        ends = values(select(revision.c.seq_to).where(revision.c.seq_to < schema.OPEN))
        head = connection.execute(select(schema.head.c.seq)).scalar_one()
        documents = set(values(select(document.c.id)))
        assert sorted(starts + stones) == list(range(1, head + 1)), "every number is one change"
        assert set(ends) <= set(starts) | set(stones)
        assert documents == set(values(select(revision.c.id))), "no document without a revision"
        assert values(select(func.count()).select_from(staged)) == [0]
        for table in schema.PROJECTIONS.sorted_tables:
            assert set(values(select(table.c.revision))) <= documents
    return True


def test_numbers_that_are_taken_and_not_committed_are_seen_by_nobody_and_passed_by_nobody(
    place: Place, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a reader who has seen number n would never learn of a smaller one that commits after it."""
    slow, quick = place.evidence(), place.evidence()
    taken, go_on = threading.Event(), threading.Event()
    take = applying._take_sequences

    def waits(connection: Connection, count: int) -> int:
        first = take(connection, count)
        if threading.current_thread().name == "slow":
            taken.set()
            assert go_on.wait(30)
        return first

    monkeypatch.setattr(applying, "_take_sequences", waits)
    one = threading.Thread(target=slow.take, args=(folder_of([osv("X-1"), osv("X-2")]), "slow"), name="slow")
    other = threading.Thread(target=quick.take, args=(folder_of([osv("Y-1")]), "quick"))
    one.start()
    assert taken.wait(30)
    other.start()
    other.join(0.7)
    waited, seen = other.is_alive(), store.sequence
    go_on.set()
    for thread in (one, other):
        thread.join()
    assert (waited, seen) == (True, 0)
    assert store.sequence == 3
    assert [line.key for line in store.evidence.raw_lines(store.selection(2))] == ["X-1", "X-2"]


def test_an_import_that_ends_leaves_alone_what_another_one_has_staged(place: Place, store: Store) -> None:
    """The documents of an import under way belong to no revision yet; they are no orphans."""
    other = place.evidence()

    taken: list[int] = []
    apply = other.imports.apply

    def after_another(*arguments: Any, **more: Any) -> Any:
        # Between the staging of one import and its end, another one with equal keys comes and goes.
        store.take(_listing(1, newer=False), "quick")
        taken.append(store.sequence)
        return apply(*arguments, **more)

    other.imports.apply = after_another  # type: ignore[method-assign]
    report = other.take(_listing(2, newer=False), "slow")
    assert taken
    assert report.added == _SIZE
    assert _is_sound(store)
    assert all(store.records.raw("slow", key) is not None for key in store.keys("slow"))


def test_an_import_that_another_process_gave_up_ends_with_an_error(store: Store) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    source = Source("demo", "osv", "ghsa", "CC-BY-4.0")
    lost = store.imports.begin(source, "one", noon)
    store.imports.stage(lost, Batch(1))
    store.imports.begin(source, "two", noon)
    with pytest.raises(ImportLost, match="demo"):
        store.imports.stage(lost, Batch(2))
    with pytest.raises(ImportLost, match="demo"):
        store.imports.apply(lost, prune=(), now=noon)


def test_a_transaction_that_met_another_one_is_tried_again_but_not_for_ever() -> None:
    tries = []

    @retried
    def transaction(succeeds_at: int) -> int:
        tries.append(succeeds_at)
        if len(tries) < succeeds_at:
            raise StoreConflict("a deadlock")
        return len(tries)

    assert transaction(3) == 3
    tries.clear()
    with pytest.raises(StoreConflict):
        transaction(100)
    assert len(tries) == 5


def test_a_source_that_is_held_elsewhere_is_free_again_afterwards(place: Place, store: Store) -> None:
    other = place.evidence()
    with other.sources.lock("demo"):
        with pytest.raises(SourceBusy, match="demo"):
            store.take(folder_of([osv()]))
        assert store.take(folder_of([osv()]), "another").added == 1
    assert store.take(folder_of([osv()])).added == 1
