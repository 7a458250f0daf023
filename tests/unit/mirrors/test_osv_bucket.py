"""The bucket of OSV: which documents stand where, whatever their publishers call them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stellaops.adapters.files.workspace import FileWorkspace
from stellaops.bundles.jsonl.shards import Line
from stellaops.bundles.rows import normalized_line
from stellaops.core import canonical_json
from stellaops.mirrors.osv_bucket import GIT, NO_PACKAGE, Bucket, archive_of, write_bucket
from stellaops.mirrors.tree import Tree
from tests.unit.cli.running import osv, package


def lines(*documents: tuple[str, Mapping[str, Any]]) -> Iterator[Line]:
    for source, document in documents:
        body = canonical_json.encode(document)
        key = str(document["id"])
        yield Line("", source, key, normalized_line(source, key, f"sha256:{'0' * 64}", body))


def written(place: Path, *documents: tuple[str, Mapping[str, Any]]) -> tuple[Bucket, dict[str, bytes]]:
    with FileWorkspace(place).stage("bucket") as staging:
        made = write_bucket(Tree(staging, None), "osv/primary", lines(*documents))
        root = staging.root / "osv/primary"
        files = {
            path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
        }
        with zipfile.ZipFile(root / "all.zip") as archive:
            assert archive.testzip() is None
    return made, files


def test_a_document_without_a_package_stands_apart(tmp_path: Path) -> None:
    commits = osv("A-1", {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]})
    made, files = written(tmp_path, ("a", commits), ("a", osv("A-2")))
    assert made == Bucket(2, 0)
    assert files["ecosystems.txt"].decode().split() == [GIT, NO_PACKAGE]
    assert json.loads(files[f"{GIT}/A-1.json"]) == commits
    assert f"{NO_PACKAGE}/A-2.json" in files


def test_what_follows_a_colon_is_no_part_of_the_folder(tmp_path: Path) -> None:
    _, files = written(
        tmp_path, ("a", osv("A-1", package("Rocky Linux:8", "x"), package("Rocky Linux:9", "x")))
    )
    assert files["ecosystems.txt"] == b"Rocky Linux\n"
    assert files["Rocky Linux/modified_id.csv"] == b"2026-01-02T03:04:05Z,A-1\n"


def test_of_two_documents_with_one_id_the_newer_counts_then_the_later_source(tmp_path: Path) -> None:
    old = osv("A-1", package("npm", "x"), modified="2026-01-01T00:00:00Z")
    new = {**old, "modified": "2026-01-01T00:00:00.5Z", "summary": "newer"}
    other = {**new, "summary": "of the later source"}
    for order in ([("a", new), ("b", old)], [("a", old), ("b", new)]):
        made, files = written(tmp_path, *order)
        assert made.documents == 1
        assert json.loads(files["npm/A-1.json"]) == new
    assert json.loads(written(tmp_path, ("a", new), ("b", other))[1]["npm/A-1.json"]) == other


def test_names_that_are_no_file_names_do_not_get_into_the_tree(tmp_path: Path) -> None:
    made, files = written(
        tmp_path,
        ("a", osv("../../etc/passwd", package("npm", "x"))),
        ("a", osv("A\n1", package("npm", "x"))),
        ("a", osv("A-1", package("../..", "x"))),
        ("a", osv("A-2", package("all.zip", "x"), package("modified_id.csv", "x"))),
    )
    assert made == Bucket(2, 2)
    assert {path for path in files if path.endswith(".json")} == {
        f"{NO_PACKAGE}/A-1.json",
        f"{NO_PACKAGE}/A-2.json",
    }


def test_an_empty_bucket_is_one(tmp_path: Path) -> None:
    made, files = written(tmp_path)
    assert made == Bucket(0, 0)
    assert sorted(files) == ["all.zip", "ecosystems.txt", "modified_id.csv"]


def test_every_single_document_stands_byte_for_byte_in_the_archive_that_is_said_to_hold_it(
    tmp_path: Path,
) -> None:
    _, files = written(
        tmp_path,
        ("a", osv("A-1", package("npm", "x"), package("PyPI", "x"))),
        ("a", osv("A-2", package("crates.io", "ä"))),
        ("a", osv("A-3")),
    )
    held = {f"osv/primary/{path}": data for path, data in files.items()}
    singles = [path for path in held if path.endswith(".json")]
    assert len(singles) == 4
    for path in singles:
        archive = archive_of(path)
        assert archive is not None
        with zipfile.ZipFile(io.BytesIO(held[archive])) as opened:
            assert opened.read(path.rpartition("/")[2]) == held[path]
    others = (set(held) - set(singles)) | {
        "osv/primary/x.json", "osv/primary/npm/deep/x.json", "oci/primary/npm/x.json", "mirror/primary/tree.json",
    }  # fmt: skip
    assert {archive_of(path) for path in others} == {None}
