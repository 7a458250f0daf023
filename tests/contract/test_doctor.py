"""The doctor finds what is wrong in a store, on every database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from stellaops.adapters.sql.inspection import SqlInspection
from stellaops.ingest import doctor
from stellaops.ingest.doctor import Finding, Room, Verdict
from tests.contract.stores import NOON, Store, osv


@pytest.fixture
def filled(store: Store) -> Store:
    """Two changed, one vanished: 40 documents whose raw bytes are not canonical, in three imports."""
    names = [f"GHSA-{number:04}" for number in range(40)]
    store.take({f"{name}.json": osv(name) for name in names})
    store.take({f"{name}.json": osv(name, summary="Another") for name in names[:2]})
    store.take({f"{name}.json": osv(name) for name in names[:39]}, prune=True)
    return store


def findings(store: Store, sample: int | None = None) -> dict[str, Finding]:
    inspection = SqlInspection(store.engine)
    found = (
        doctor.check_structure(inspection),
        doctor.check_digests(inspection, sample),
        *doctor.check_rows(inspection),
    )
    return {finding.name: finding for finding in found}


def without_guards(store: Store, *statements: str) -> None:
    """Do to the store what its guards do not allow: what a broken disk or a curious person would do."""
    tables = ("document", "revision", "raw_block", "tombstone")
    with store.engine.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            for table in tables:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        else:
            names = (
                connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
                .scalars()
                .all()
            )
            for name in names:
                connection.execute(text(f"DROP TRIGGER {name}"))
        for statement in statements:
            connection.execute(text(statement))


def test_a_store_as_imports_leave_it_is_sound(filled: Store) -> None:
    assert {finding.verdict for finding in findings(filled).values()} == {Verdict.OK}
    assert findings(filled)["digests"].detail == "all documents and their raw bytes have their digests"
    assert findings(filled, sample=5)["digests"].verdict is Verdict.OK


def test_a_changed_document_is_found_and_named(filled: Store) -> None:
    one = "WHERE id = (SELECT id FROM revision WHERE key = 'GHSA-0007')"
    without_guards(filled, " ".join(("UPDATE document SET body = body || body", one)))
    found = findings(filled)["digests"]
    assert found.verdict is Verdict.FAILED
    assert "demo GHSA-0007: the document" in found.detail
    assert found.hint


def test_damaged_raw_bytes_are_found(filled: Store) -> None:
    without_guards(filled, "UPDATE raw_block SET data = document.body FROM document")
    found = findings(filled)["digests"]
    assert found.verdict is Verdict.FAILED
    assert "the raw bytes" in found.detail


def test_a_document_that_is_gone_is_found(filled: Store) -> None:
    without_guards(
        filled, "DELETE FROM document WHERE id = (SELECT id FROM revision WHERE key = 'GHSA-0007')"
    )
    found = findings(filled)
    assert found["rows"].detail == "1 revisions without a document"
    assert found["derived rows"].verdict is Verdict.WARNING


def test_a_revision_that_is_gone_leaves_a_gap_and_an_orphan(filled: Store) -> None:
    without_guards(filled, "DELETE FROM revision WHERE key = 'GHSA-0007'")
    found = findings(filled)
    assert found["sequences"].verdict is Verdict.FAILED
    assert found["rows"].detail == "1 documents of no revision"


def test_two_current_documents_of_one_key_are_found(filled: Store) -> None:
    without_guards(
        filled, "UPDATE revision SET key = 'GHSA-0008', seq_to = seq_to - 1 WHERE key = 'GHSA-0007'"
    )
    assert "1 keys with two current documents" in findings(filled)["rows"].detail


def test_old_and_unfinished_sources_and_the_quarantine_are_pointed_out(filled: Store) -> None:
    filled.take({"a.json": osv("GHSA-a"), "b.json": "{"}, "other")
    sources = filled.sources.status("default")[1]
    limit = timedelta(days=7)
    assert doctor.check_ages(sources, now=NOON + limit, limit=limit).verdict is Verdict.OK
    late = doctor.check_ages(sources, now=NOON + timedelta(days=9), limit=limit)
    assert (late.verdict, late.detail) == (Verdict.WARNING, "demo: read 9 days ago; other: read 9 days ago")
    assert doctor.check_quarantine(sources).detail == "other: 1"
    assert doctor.check_ages([], now=NOON, limit=limit).verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("free", "used", "verdict"),
    [(2 << 30, 1 << 20, Verdict.OK), (2 << 30, 3 << 30, Verdict.WARNING), (1 << 20, 0, Verdict.WARNING)],
)
def test_little_room_on_the_disk_is_pointed_out(free: int, used: int, verdict: Verdict) -> None:
    assert doctor.check_room(Room(free, used)).verdict is verdict
