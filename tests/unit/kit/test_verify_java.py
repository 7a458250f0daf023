"""The checks of a Java database inside a bundle: what Trivy would misread, or what no row explains, is found."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from stellaops.bundles import layout
from stellaops.bundles.trivy.java_db import JavaRow, JavaSentinel
from stellaops.kit.verify import verify_bundle
from tests.unit.kit.small_bundle import JAVA_ROWS, SENDER, SmallBundle, java_database, metadata, tar

TRUSTED = [SENDER.public_key_pem()]


def failed(tmp_path: Path, **changes: object) -> dict[str, str]:
    root = SmallBundle(**changes).write(tmp_path / "bundle")  # type: ignore[arg-type]
    return {check.name: check.detail for check in verify_bundle(root, TRUSTED).failed()}


def test_an_honest_java_database_passes(tmp_path: Path) -> None:
    report = verify_bundle(SmallBundle().write(tmp_path / "bundle"), TRUSTED)
    assert report.verdict == "ok"
    details = {check.name: check.detail for check in report.checks}
    assert details["java-database"] == "3 artefacts, pages and indices sound"
    assert details["java-sentinels"] == "1 sentinels found"


def test_an_empty_java_database_passes(tmp_path: Path) -> None:
    assert failed(tmp_path, java=java_database(()), java_rows=(), java_sentinels=()) == {}


def test_the_content_digest_is_over_the_rows_and_not_over_the_bytes(tmp_path: Path) -> None:
    changed = java_database(JAVA_ROWS, "PRAGMA user_version = 7")
    assert changed != java_database()
    one, two = SmallBundle().write(tmp_path / "1"), SmallBundle(java=changed).write(tmp_path / "2")
    assert (one / "export.json").read_bytes() == (two / "export.json").read_bytes()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP INDEX indices_sha1_idx",
        "CREATE TABLE more(x)",
        "CREATE TRIGGER t AFTER INSERT ON indices BEGIN SELECT 1; END",
        "CREATE VIEW v AS SELECT 1",
        "INSERT INTO artifacts VALUES (9, 'org.none', 'none')",
        "DELETE FROM artifacts WHERE artifact_id = 'right'",
        "PRAGMA journal_mode = WAL",
        "PRAGMA user_version = 7",
    ],
)
def test_a_database_that_is_another_one(tmp_path: Path, statement: str) -> None:
    found = failed(tmp_path, java=java_database(JAVA_ROWS, statement))
    assert found
    assert set(found) <= {"java-database", "content"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE indices SET sha1 = x'00' WHERE version = '1.0'",
        "UPDATE indices SET sha1 = '11111111111111111111' WHERE version = '1.0'",
        "UPDATE indices SET archive_type = 'war' WHERE version = '1.0'",
        "UPDATE indices SET version = NULL WHERE version = '1.0'",
        "UPDATE indices SET version = '9' WHERE version = '1.0'",
        "UPDATE artifacts SET group_id = 5 WHERE id = 1",
        "DELETE FROM indices WHERE version = '1.1'",
        "DROP TABLE indices",
    ],
)
def test_rows_that_are_not_those_of_the_manifest(tmp_path: Path, statement: str) -> None:
    assert "content" in failed(tmp_path, java=java_database(JAVA_ROWS, statement))


def test_an_index_that_does_not_fit_its_table_is_found(tmp_path: Path) -> None:
    data = java_database()
    # The index over the digests holds them once more: in the file's last pages.
    place = data.rindex(b"2" * 20)
    found = failed(tmp_path, java=data[:place] + b"3" * 20 + data[place + 20 :])
    assert list(found) == ["java-database"]


@pytest.mark.parametrize("place", [24, 36, 92, 96])
def test_a_header_that_tells_of_its_writer_is_found(tmp_path: Path, place: int) -> None:
    data = bytearray(java_database())
    data[place : place + 4] = (3_045_001).to_bytes(4, "big")
    found = failed(tmp_path, java=bytes(data))
    assert found
    assert set(found) <= {"java-database", "content"}


@pytest.mark.parametrize("data", [b"", b"x" * 8192, b"SQLite format 3\0", java_database()[:4096]])
def test_a_file_that_is_no_whole_database(tmp_path: Path, data: bytes) -> None:
    assert set(failed(tmp_path, java=data)) & {"content", "java-database"}


@pytest.mark.parametrize(
    "change",
    [
        {"Version": 2},
        {"UpdatedAt": "2026-01-01T00:00:00Z"},
        {"NextUpdate": "2026-01-02T03:04:05Z"},
        {"DownloadedAt": "2026-01-02T03:04:05Z"},
    ],
)
def test_metadata_that_is_not_as_it_must_be(tmp_path: Path, change: dict[str, object]) -> None:
    assert list(failed(tmp_path, java_metadata=metadata(**({"Version": 1} | change)))) == ["java-metadata"]


@pytest.mark.parametrize(
    "sentinel",
    [
        JavaSentinel("org.small", "left", "3.0"),
        JavaSentinel("org.other", "left", "1.0"),
        JavaSentinel("org.small", "right", "2.0"),
        JavaSentinel("org.small", "le ft", "1.0"),
    ],
)
def test_a_sentinel_that_trivy_would_not_recognise(tmp_path: Path, sentinel: JavaSentinel) -> None:
    assert list(failed(tmp_path, java_sentinels=(sentinel,))) == ["java-sentinels"]


def test_a_sentinel_of_two_groups_is_refused(tmp_path: Path) -> None:
    rows: tuple[JavaRow, ...] = (("org.other", "left", "1.0", "jar", b"9" * 20), *JAVA_ROWS)
    found = failed(tmp_path, java=java_database(rows), java_rows=rows)
    assert list(found) == ["java-sentinels"]


@pytest.mark.parametrize(
    "archive",
    [
        tar({"metadata.json": b"{}", "trivy.db": b"x"}),
        tar({"trivy-java.db": b"x"}),
        tar({"metadata.json": b"{}", "trivy-java.db": b"x", "more": b""}),
        b"",
    ],
)
def test_an_archive_of_anything_else(tmp_path: Path, archive: bytes) -> None:
    files = {layout.TRIVY_JAVA_DB: gzip.compress(archive, mtime=0)}
    assert list(failed(tmp_path, files=files)) == ["content"]


def test_sentinels_in_another_form_are_refused(tmp_path: Path) -> None:
    for data in (b"", b"[]\n", b'[{"artifact":"a"}]', b"{}"):
        assert "content" in failed(tmp_path, files={layout.TRIVY_JAVA_SENTINELS: data})
