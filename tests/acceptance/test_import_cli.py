"""`stella concelier` as its users meet it: its output, its exit code; the first as a process."""

from __future__ import annotations

import json
import lzma
import tarfile
from pathlib import Path

import pytest

from tests.acceptance.importing import called, failed, imported, pack
from tests.contract.stores import osv

REPORT = [
    "source", "feed", "database", "read", "added", "changed", "unchanged", "withdrawn", "vanished", "quarantined",
    "equalKeys", "ignored", "sequence", "resumed",
]  # fmt: skip
SPACED = b'{ "id": "GHSA-aaaa",\r\n  "affected": [ ], "summary": "\\u00e9" }\n'


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    return pack(
        tmp_path / "all.zip",
        {"a.json": SPACED, "b.json": osv("GHSA-bbbb"), "broken.json": b'{"id": "\xff"}', "LICENSE": "text"},
    )


def test_an_import_reports_what_it_did_and_nothing_else(tmp_path: Path, listing: Path) -> None:
    report = imported(tmp_path / "data", listing, "--source", "ghsa")
    assert list(report) == REPORT
    assert report == dict.fromkeys(REPORT, 0) | {
        "source": "ghsa", "feed": "osv", "database": "ghsa", "read": 3, "added": 2, "quarantined": 1, "ignored": 1,
        "sequence": 2, "resumed": False,
    }  # fmt: skip
    again = imported(tmp_path / "data", listing, "--source", "ghsa")
    assert again == report | {"added": 0, "unchanged": 2}


def test_status_shows_every_source(tmp_path: Path, listing: Path) -> None:
    data = tmp_path / "data"
    assert called(data, "concelier", "status").value == {"sequence": 0, "sources": []}
    imported(data, listing, "--source", "ghsa", by=called)
    status = called(data, "concelier", "status").value
    (line,) = status["sources"]
    checked = line.pop("checkedAt")
    assert checked.endswith("Z")
    assert status["sequence"] == 2
    assert line == {
        "source": "ghsa", "feed": "osv", "database": "ghsa", "documents": 2, "statements": 0, "withdrawn": 0,
        "vanished": 0, "quarantined": 1, "licence": "CC-BY-4.0", "updatedAt": "2024-05-01T00:00:00Z", "complete": True,
    }  # fmt: skip


def test_a_document_is_shown_with_its_provenance_and_given_back_byte_for_byte(
    tmp_path: Path, listing: Path
) -> None:
    data = tmp_path / "data"
    imported(data, listing, "--source", "ghsa", by=called)
    (shown,) = called(data, "concelier", "show", "GHSA-aaaa").value
    assert shown["document"] == {"id": "GHSA-aaaa", "affected": [], "summary": "é"}
    assert shown["provenance"]["containerUrl"] == listing.as_uri()
    assert (shown["provenance"]["path"], shown["provenance"]["length"]) == ("a.json", len(SPACED))
    assert called(data, "concelier", "show", "GHSA-aaaa", "--raw").out == SPACED
    assert [found["key"] for found in called(data, "concelier", "show", "CVE-2024-10001").value] == [
        "GHSA-bbbb"
    ]
    failed(called(data, "concelier", "show", "CVE-1999-0001"), 4, "ERR_CONCELIER_NOT_FOUND")


def test_the_quarantine_can_be_listed_shown_and_tried_again(tmp_path: Path, listing: Path) -> None:
    data = tmp_path / "data"
    imported(data, listing, "--source", "ghsa", by=called)
    (entry,) = called(data, "concelier", "quarantine", "list", "--source", "ghsa").value
    assert (entry["path"], entry["reason"], entry["size"]) == ("broken.json", "not-utf-8", 11)
    number = entry["entry"]
    assert called(data, "concelier", "quarantine", "show", number).value == entry
    assert called(data, "concelier", "quarantine", "show", number, "--raw").out == b'{"id": "\xff"}'
    retried = called(data, "concelier", "quarantine", "retry", "--source", "ghsa")
    assert (retried.code, retried.value["quarantined"], retried.value["sequence"]) == (0, 1, 2)
    failed(called(data, "concelier", "quarantine", "show", 99), 4, "ERR_QUARANTINE_NOT_FOUND")
    failed(called(data, "concelier", "quarantine", "retry", "--source", "none"), 4, "ERR_SOURCE_NOT_FOUND")


def test_wrong_input_is_refused_with_its_code(tmp_path: Path, listing: Path) -> None:
    data = tmp_path / "data"
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "cut.zip").write_bytes(listing.read_bytes()[:200])
    take = ("concelier", "import")
    failed(called(data, *take, tmp_path / "notes.txt", "--source", "x"), 2, "ERR_IMPORT_UNKNOWN_FORM")
    failed(called(data, *take, tmp_path / "cut.zip", "--source", "x"), 2, "ERR_IMPORT_ARCHIVE_DAMAGED")
    failed(called(data, *take, tmp_path / "missing", "--source", "x"), 4, "ERR_IMPORT_INPUT_MISSING")
    assert called(data, *take, listing).code == 2
    assert called(data, *take, listing, "--source", "x", "--database", "nonsense").code == 2
    assert called(data, *take, listing, "--source", "x", "--feed", "nonsense").code == 2
    imported(data, listing, "--source", "x", by=called)
    failed(
        called(data, *take, listing, "--source", "x", "--database", "pypa"), 2, "ERR_IMPORT_SOURCE_MISMATCH"
    )
    assert called(data, "concelier", "status").value["sequence"] == 2


def test_a_damaged_archive_shows_nothing_of_itself_and_the_sound_one_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    files = {f"{n}.json": osv(f"GHSA-{n:04}", details="x" * 500) for n in range(50)}
    folder = tmp_path / "in"
    folder.mkdir()
    for name, document in files.items():
        (folder / name).write_text(json.dumps(document))
    with tarfile.open(tmp_path / "all.tar.xz", "w:xz") as archive:
        archive.add(folder, ".")
    whole = (tmp_path / "all.tar.xz").read_bytes()
    plain = lzma.decompress(whole)
    (tmp_path / "cut.tar").write_bytes(plain[: len(plain) // 2 // 512 * 512])
    answer = called(data, "concelier", "import", tmp_path / "cut.tar", "--source", "x", "--prune")
    failed(answer, 2, "ERR_IMPORT_ARCHIVE_DAMAGED")
    assert called(data, "concelier", "status").value["sequence"] == 0
    assert imported(data, tmp_path / "all.tar.xz", "--source", "x", "--prune", by=called)["added"] == 50
    failed(
        called(data, "concelier", "import", tmp_path / "cut.tar", "--source", "x", "--prune"),
        2,
        answer_code(answer.err),
    )
    assert called(data, "concelier", "status").value["sources"][0]["documents"] == 50
    again = imported(data, folder, "--source", "x", "--prune", by=called)
    assert (again["unchanged"], again["sequence"]) == (50, 50)


def answer_code(err: str) -> str:
    return err.split()[1].rstrip(":")
