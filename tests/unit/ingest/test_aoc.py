"""The aggregation-only contract in code and in the database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from stellaops.advisories.advisory import Advisory, Assessment
from stellaops.core.digests import Digest, sha256
from stellaops.ingest import aoc
from stellaops.ingest.model import Container, Record, Source
from tests.contract.stores import Files, Store, folder_of, osv, sqlite_store

SOURCE = Source("demo", "osv", "ghsa", "CC-BY-4.0")
RAW = b'{"affected":[],"id":"GHSA-a"}'
GOOD = Record(
    key="GHSA-a", path="a.json", container=Container("file:///in/a.json", sha256(RAW), len(RAW), 0), offset=0, raw=RAW,
    raw_digest=sha256(RAW), body=RAW, verbatim=False, digest=sha256(RAW), stated_at=None, withdrawn=False, severity=0,
    tlp="CLEAR", read=Advisory("GHSA-a"), assessment=Assessment(),
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = sqlite_store(tmp_path / "data")
    found.take(
        {
            "a.json": osv("GHSA-a"),
            "b.json": '{"id":"GHSA-b","affected":[],"affected":[]}',
            "c.json": osv("GHSA-c"),
        }
    )
    found.take(folder_of([osv("GHSA-a", summary="Changed")]))
    found.take(folder_of([osv("GHSA-a", summary="Changed")]), prune=True)
    return found


def test_a_record_as_it_was_fetched_passes() -> None:
    aoc.check(GOOD, SOURCE, {})


@pytest.mark.parametrize(
    "changes",
    [
        {"path": ""},
        {"container": Container("", sha256(RAW), len(RAW), 0)},
        {"container": Container("file:///a", Digest(""), len(RAW), 0)},
    ],
)
def test_a_record_without_provenance_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(aoc.MissingProvenance) as caught:
        aoc.check(msgspec.structs.replace(GOOD, **changes), SOURCE, {})
    assert caught.value.code == "ERR_AOC_PROVENANCE"


@pytest.mark.parametrize("source", [Source("", "osv", "ghsa", "MIT"), Source("demo", "osv", "ghsa", "")])
def test_a_source_without_name_or_licence_is_refused(source: Source) -> None:
    with pytest.raises(aoc.MissingProvenance):
        aoc.check(GOOD, source, {})


@pytest.mark.parametrize("offset", [-1, 1, 1000])
def test_a_record_that_is_no_slice_of_its_container_is_refused(offset: int) -> None:
    with pytest.raises(aoc.MergedRecord) as caught:
        aoc.check(msgspec.structs.replace(GOOD, offset=offset), SOURCE, {})
    assert caught.value.code == "ERR_AOC_MERGE"


def test_a_verbatim_record_whose_bytes_were_changed_is_refused() -> None:
    with pytest.raises(aoc.AocViolation) as caught:
        aoc.check(msgspec.structs.replace(GOOD, verbatim=True, body=RAW + b" "), SOURCE, {})
    assert caught.value.code == "ERR_AOC_MUTATION"


@pytest.mark.parametrize(
    "raw",
    [
        '{"id": "GHSA-x", "affected": [], "stellaops": {"score": 1}}',
        '{"id": "GHSA-x", "affected": [], "stella": null}',
        '{"id": "GHSA-x", "affected": [], "\\u0073tellaops": 1}',
        '{"id": "GHSA-x", "affected": [], "stella": 1, "stella": 2}',
        '{"id": "GHSA-x", "affected": [], "stella": 12345678901234567890}',
    ],
)
def test_a_field_of_ours_in_a_document_puts_it_in_quarantine(store: Store, raw: str) -> None:
    report = store.take({"x.json": raw, "y.json": osv("GHSA-y")})
    assert (report.added, report.quarantined) == (1, 1)
    assert store.reasons() == [("x.json", "ERR_AOC_DERIVED_FIELD")]


def test_a_field_of_ours_in_yaml_puts_the_document_in_quarantine(store: Store) -> None:
    store.take(
        {"x.yaml": "id: GHSA-x\naffected: []\nstella: {}\n", "z.yaml": "id: GHSA-z\nstella: 1\nstella: 2\n"}
    )
    assert [reason for _, reason in store.reasons()] == ["ERR_AOC_DERIVED_FIELD"] * 2


def test_our_name_elsewhere_in_a_document_is_the_upstreams_own_business(store: Store) -> None:
    document = osv("GHSA-x", details='about "stellaops"', database_specific={"stellaops": 1}, severity=[])
    assert store.take({"x.json": document}).added == 1


GUARDED = [
    ("UPDATE document SET body = x'00'", "ERR_AOC_MUTATION"),
    ("UPDATE document SET verbatim = NOT verbatim", "ERR_AOC_MUTATION"),
    ("UPDATE document SET raw_start = 1", "ERR_AOC_MUTATION"),
    ("DELETE FROM document", "ERR_AOC_MUTATION"),
    ("UPDATE raw_block SET data = x'00'", "ERR_AOC_MUTATION"),
    ("DELETE FROM revision", "ERR_AOC_MUTATION"),
    ("UPDATE revision SET digest = 'sha256:0'", "ERR_AOC_MUTATION"),
    ("UPDATE revision SET raw_digest = 'sha256:0'", "ERR_AOC_MUTATION"),
    ("UPDATE revision SET key = 'other'", "ERR_AOC_MUTATION"),
    ("UPDATE revision SET source = 'other'", "ERR_AOC_MUTATION"),
    ("UPDATE revision SET owner = 'other'", "ERR_AOC_MUTATION"),
    ("UPDATE revision SET seq_from = 0", "ERR_AOC_MUTATION"),
    ("UPDATE revision SET seq_to = 4611686018427387904 WHERE seq_to < 1000", "ERR_AOC_MUTATION"),
    ("UPDATE revision SET seq_to = 999 WHERE seq_to < 1000", "ERR_AOC_MUTATION"),
    ("UPDATE revision SET seq_to = 0", "ERR_AOC_MUTATION"),
    ("UPDATE revision SET path = 'elsewhere'", "ERR_AOC_MUTATION"),
    ("UPDATE revision SET container = 99", "ERR_AOC_MUTATION"),
    ("UPDATE container SET url = 'elsewhere'", "ERR_AOC_PROVENANCE"),
    ("UPDATE container SET fetched_at = 0", "ERR_AOC_PROVENANCE"),
]
OPEN_TO_CHANGE = [
    "UPDATE revision SET withdrawn = NOT withdrawn, seq_to = 1000 WHERE seq_to > 1000",
    "UPDATE revision SET severity = 4, seq_to = 1000 WHERE seq_to > 1000",
    "UPDATE revision SET stated_at = 1, seq_to = 1000 WHERE seq_to > 1000",
    "UPDATE revision SET tlp = 'RED', seq_to = 1000 WHERE seq_to > 1000",
    "UPDATE revision SET file_offset = 7, seq_to = 1000 WHERE seq_to > 1000",
    "DELETE FROM container",
    "DELETE FROM raw_block",
    "UPDATE tombstone SET key = 'other'",
    "DELETE FROM tombstone",
    "INSERT OR REPLACE INTO document SELECT id, verbatim, x'00', NULL, NULL, 1, NULL, NULL FROM document",
]


@pytest.mark.parametrize(("statement", "code"), GUARDED)
def test_the_database_itself_refuses_to_change_what_was_stored(
    store: Store, statement: str, code: str
) -> None:
    before = store.lines()
    with pytest.raises(DatabaseError, match=code), store.engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount > 0
    assert store.lines() == before


@pytest.mark.parametrize("statement", OPEN_TO_CHANGE)
def test_the_database_guards_every_other_part_of_the_evidence_too(store: Store, statement: str) -> None:
    with pytest.raises(DatabaseError, match="ERR_AOC"), store.engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount > 0


def test_the_database_lets_a_revision_be_closed_once(store: Store) -> None:
    close = text("UPDATE revision SET seq_to = 1000 WHERE seq_to > 1000")
    with store.engine.begin() as connection:
        assert connection.execute(close).rowcount == 1
        assert connection.execute(close).rowcount == 0


def test_content_that_lost_inside_an_import_may_go(store: Store) -> None:
    files = {f"{number}.json": osv("GHSA-n", summary=f"{number}") for number in range(4)}
    store.take(Files(files))
    with store.engine.connect() as connection:
        documents = connection.execute(text("SELECT count(*) FROM document")).scalar_one()
        revisions = connection.execute(text("SELECT count(*) FROM revision")).scalar_one()
    assert documents == revisions
    assert json.loads(store.one("GHSA-n").body)["summary"] in "0123"
