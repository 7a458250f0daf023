"""What a store promises about records that could not be read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stellaops.adapters.sql.quarantine import QuarantineEntryNotFound
from stellaops.core.digests import sha256
from stellaops.ingest.retry_quarantine import SourceNotFound
from tests.contract.stores import NOON, Files, Interrupted, Store, folder_of, osv

A = "GHSA-aaaa-aaaa-aaaa"


def test_a_broken_record_is_kept_with_its_bytes_and_stops_nothing(store: Store) -> None:
    report = store.take(folder_of([osv(A)]) | {"b.json": b'{"id": \xff}', "c.json": '{"affected": []}'})
    assert (report.read, report.added, report.quarantined) == (3, 1, 2)
    first, second = store.quarantine.list("demo")
    assert (first.path, first.reason) == ("b.json", "not-utf-8")
    assert (second.path, second.reason) == ("c.json", "no-id")
    entry, raw = store.quarantine.raw(first.id)
    assert raw == b'{"id": \xff}'
    assert (entry.raw_digest, entry.size, entry.seen_at) == (sha256(raw), len(raw), NOON)
    assert store.status().quarantined == 2


def test_entries_are_listed_by_source(store: Store) -> None:
    store.take(folder_of([osv(A)]) | {"b.json": "{"}, "one")
    store.take(folder_of([osv(A)]) | {"b.json": "["}, "two")
    assert [entry.source for entry in store.quarantine.list(None)] == ["one", "two"]
    assert [entry.source for entry in store.quarantine.list("two")] == ["two"]
    assert list(store.quarantine.list("three")) == []


def test_an_unknown_entry_is_an_error(store: Store) -> None:
    with pytest.raises(QuarantineEntryNotFound, match="7"):
        store.quarantine.raw(7)


def test_what_arrives_sound_leaves_the_quarantine(store: Store) -> None:
    store.take(folder_of([osv(A)]) | {"b.json": "{"})
    (entry,) = store.quarantine.list(None)
    store.take({"b.json": osv("GHSA-bbbb-bbbb-bbbb")})
    assert store.reasons() == []
    with pytest.raises(QuarantineEntryNotFound):
        store.quarantine.raw(entry.id)


def test_what_arrives_broken_in_another_way_replaces_its_entry(store: Store) -> None:
    store.take(folder_of([osv(A)]) | {"b.json": "{"})
    report = store.take(folder_of([osv(A)]) | {"b.json": '{"affected": []}'})
    assert report.quarantined == 1
    assert store.reasons() == [("b.json", "no-id")]


def test_a_retry_of_what_is_still_broken_changes_nothing(store: Store) -> None:
    store.take(folder_of([osv(A)]) | {"b.json": "{", "c.yaml": "a: [\n"})
    before = list(store.quarantine.list(None))
    report = store.retry()
    assert (report.read, report.added, report.quarantined, report.sequence) == (2, 0, 2, 1)
    assert list(store.quarantine.list(None)) == before


def test_a_retry_of_nothing_is_well(store: Store) -> None:
    store.take(folder_of([osv(A)]))
    assert (store.retry().read, store.sequence) == (0, 1)


def test_a_retry_of_an_unknown_source_is_an_error(store: Store) -> None:
    with pytest.raises(SourceNotFound, match="nowhere"):
        store.retry("nowhere")


def test_a_retry_takes_in_what_can_be_read_now(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older release that could not read a document left it in quarantine; this one reads it."""
    good = osv("GHSA-bbbb-bbbb-bbbb")
    with monkeypatch.context() as older:
        older.setattr("stellaops.advisories.documents.osv._MAX_ID", 18)
        store.take(folder_of([osv("GHSA-short"), good]))
    assert [reason for _, reason in store.reasons()] == ["no-id"]
    report = store.retry()
    assert (report.read, report.added, report.quarantined) == (1, 1, 0)
    assert store.reasons() == []
    record = store.one("GHSA-bbbb-bbbb-bbbb")
    assert record.path == "GHSA-bbbb-bbbb-bbbb.json"
    assert record.container_url == "file:///in/GHSA-bbbb-bbbb-bbbb.json"


def test_one_broken_line_or_element_costs_only_itself(store: Store) -> None:
    lines = b'{"id": "X-1", "affected": []}\n{"id": \n{"id": "X-2", "affected": []}\n'
    array = (
        b'[{"id": "Y-1", "affected": []}, {"id": "Y-2", "affected": 7}, NaN, {"id": "Y-3", "affected": []}]'
    )
    report = store.take({"all.jsonl": lines, "list.json": array})
    assert (report.read, report.added, report.quarantined) == (7, 4, 3)
    assert store.keys() == ["X-1", "X-2", "Y-1", "Y-3"]
    assert sorted(store.reasons()) == [
        ("all.jsonl", "not-json"),
        ("list.json", "not-json"),
        ("list.json", "schema"),
    ]
    again = store.take({"all.jsonl": lines, "list.json": array})
    assert (again.unchanged, again.quarantined, again.sequence) == (4, 3, 4)
    assert len(store.quarantine.list(None)) == 3


def test_a_first_line_that_is_broken_does_not_hide_the_others(store: Store) -> None:
    report = store.take({"all.jsonl": b'{"id": \n{"id": "X-2", "affected": []}\n'})
    assert (report.read, report.added, report.quarantined) == (2, 1, 1)


def test_a_retry_of_a_broken_line_keeps_its_one_entry(store: Store) -> None:
    store.take({"all.jsonl": b'{"id": "X-1", "affected": []}\n{"id": \n'})
    store.retry()
    assert len(store.quarantine.list(None)) == 1


def test_what_no_longer_exists_upstream_vanishes_though_it_was_broken_before(store: Store) -> None:
    files = folder_of([osv(A), osv("GHSA-bbbb-bbbb-bbbb")])
    store.take(files)
    store.take(files | {f"{A}.json": "{"})
    report = store.take({"GHSA-bbbb-bbbb-bbbb.json": osv("GHSA-bbbb-bbbb-bbbb")}, prune=True)
    assert (report.unchanged, report.vanished) == (1, 1)
    assert store.keys() == ["GHSA-bbbb-bbbb-bbbb"]


def test_broken_members_of_an_archive_name_the_archive(store: Store) -> None:
    store.take(Files({"a.json": osv(A), "b.json": "{"}, archive=b"an archive"))
    members = list(store.quarantine.members("demo"))
    assert [(member.path, member.container_url) for member in members] == [("b.json", "file:///in/all.zip")]


def test_a_retry_is_no_check_of_the_source(store: Store) -> None:
    store.take(folder_of([osv(A)]) | {"b.json": "{"})
    store.retry(now=NOON + timedelta(days=1))
    assert store.status().checked_at == NOON


def test_a_retry_leaves_an_interrupted_first_import_unfinished(store: Store) -> None:
    documents: dict[str, object] = {"broken.json": "{"}
    documents |= {f"X-{number:04}.json": {"id": f"X-{number:04}", "affected": []} for number in range(9000)}
    with pytest.raises(KeyboardInterrupt):
        store.take(Interrupted(documents))
    store.retry()
    assert list(store.evidence.unfinished()) == ["demo"]
    assert not store.status().complete
    assert store.take(documents).resumed
