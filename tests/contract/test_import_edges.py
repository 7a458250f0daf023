"""Inputs that once led to a wrong store, or to one that could not be exported."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from stellaops.adapters.sql.projections import SqlProjections
from stellaops.ingest.import_documents import BadSourceName
from tests.contract.stores import Store, folder_of, osv, sqlite_store


def _package(name: str, ecosystem: str = "PyPI") -> list[dict[str, object]]:
    span = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2.3"}]}
    return [{"package": {"ecosystem": ecosystem, "name": name}, "ranges": [span]}]


@pytest.mark.parametrize(("name", "ecosystem"), [("x" * 70_000, "PyPI"), ("https://", "SwiftURL")])
def test_a_package_name_that_no_database_can_hold_is_reported_and_not_written(
    store: Store, name: str, ecosystem: str
) -> None:
    store.take(folder_of([osv(affected=_package(name, ecosystem))]))
    assert list(store.evidence.advisories(store.selection())) == []
    (problem,) = store.evidence.problems(store.selection())
    assert "a package name of" in problem


def test_the_database_of_a_source_does_not_depend_on_the_order_of_its_files(tmp_path: Path) -> None:
    ids = [f"GHSA-aaaa-bbbb-{n:04}" for n in range(150)] + [f"PYSEC-2024-{n}" for n in range(600)]
    files = [(f"{name}.json", osv(name)) for name in ids]
    told = set()
    for seed in range(4):
        random.Random(seed).shuffle(files)
        store = sqlite_store(tmp_path / f"store{seed}")
        told.add(store.take(dict(files)).database)
    assert told == {"osv"}


def test_a_broken_record_stays_in_quarantine_though_a_sound_one_has_its_path_elsewhere(store: Store) -> None:
    store.take({"a.json": "{", "good.json": osv("GHSA-gggg-gggg-gggg")})
    (entry,) = store.quarantine.list(None)
    store.take({"a.json": "{", "good.json": osv("GHSA-gggg-gggg-gggg")})
    assert [each.id for each in store.quarantine.list(None)] == [entry.id]


@pytest.mark.parametrize("broken", ['{"id": "GHSA-xxxx-xxxx-xxxx", "affected": [', "{"])
def test_pruning_keeps_a_known_document_that_moved_and_arrives_broken(store: Store, broken: str) -> None:
    known, other = osv("GHSA-xxxx-xxxx-xxxx"), osv("GHSA-yyyy-yyyy-yyyy")
    names = ("GHSA-xxxx-xxxx-xxxx.json", "GHSA-yyyy-yyyy-yyyy.json")
    store.take({f"old/{names[0]}": known, f"old/{names[1]}": other})
    store.take({f"new/{names[0]}": known, f"new/{names[1]}": other}, prune=True)
    report = store.take({f"new/{names[0]}": broken, f"new/{names[1]}": other}, prune=True)
    assert (report.vanished, report.quarantined) == (0, 1)
    assert len(store.keys()) == 2


def test_millions_of_values_in_a_small_archive_go_to_quarantine(store: Store) -> None:
    many = '{"id": "GHSA-mmmm-mmmm-mmmm", "affected": [' + ",".join(["{}"] * 1_100_000) + "]}"
    zeros = "[" + ",".join(["0"] * 5_100_000) + "]"
    store.take({"many.json": many, "zeros.json": zeros, "good.json": osv()})
    assert sorted(store.reasons()) == [("many.json", "too-many-nodes"), ("zeros.json", "too-many-nodes")]


def test_a_long_text_full_of_commas_is_no_bomb(store: Store) -> None:
    assert store.take({"a.json": json.dumps(osv(details=", [{" * 500_000))}).added == 1


@pytest.mark.parametrize("name", ["", "a b", "x\ty", "../up", "a,b", "é", "-dash", "x" * 64])
def test_a_source_name_that_would_not_travel_is_refused(store: Store, name: str) -> None:
    with pytest.raises(BadSourceName):
        store.take(folder_of([osv()]), source=name)
    assert store.sources.status("default")[1] == []


def test_rows_can_be_rebuilt_for_what_has_no_place_in_a_database(store: Store) -> None:
    store.take(folder_of([osv(affected=_package("x" * 70_000))]))
    SqlProjections(store.engine).complete()
    assert store.evidence.snapshot(store.selection()).records == 1
