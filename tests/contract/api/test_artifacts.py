"""Bundles over the API: every file, whole and in parts, and what a verification says of it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from stellaops.exports.run import RunStatus
from stellaops.kit.verify import verify_bundle
from tests.contract.api.conftest import Filled

_RUNS = "/api/export/runs"


def _path(filled: Filled) -> str:
    return f"{_RUNS}/{filled.run.id}/artifacts"


def _some(filled: Filled) -> tuple[str, bytes]:
    """The path and the bytes of one artefact."""
    artifact = next(each for each in filled.run.artifacts if each.path.startswith("data/"))
    assert filled.run.archive is not None
    return artifact.path, b"".join(filled.api.local.artefacts.read(filled.run.archive, artifact.path))


def test_a_bundle_that_was_downloaded_verifies(filled: Filled, tmp_path: Path) -> None:
    listed = filled.api.get(_path(filled)).json()
    assert listed["next"] is None
    for item in listed["items"]:
        found = filled.api.get(f"{_path(filled)}/{item['path']}")
        assert found.status_code == 200
        assert len(found.content) == item["bytes"]
        if item["sha256"] is not None:
            assert f"sha256:{hashlib.sha256(found.content).hexdigest()}" == item["sha256"]
        target = tmp_path / item["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(found.content)
    pem = filled.api.client.get("/tenants/default/export-center.pub").content
    assert verify_bundle(tmp_path, [pem]).verdict == "ok"


def test_a_file_tells_its_digest_and_name(filled: Filled) -> None:
    path, content = _some(filled)
    head = filled.api.ask("HEAD", f"{_path(filled)}/{path}")
    digest = hashlib.sha256(content).digest()
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == f'"sha256:{digest.hex()}"'
    assert head.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest).decode()}:"
    assert head.headers["content-length"] == str(len(content))
    assert head.headers["accept-ranges"] == "bytes"
    assert head.headers["content-type"] == "application/zstd"
    assert head.headers["content-disposition"] == f'attachment; filename="{path.rpartition("/")[2]}"'


@pytest.mark.parametrize(
    ("wanted", "begin", "end"),
    [("bytes=0-9", 0, 10), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=3-99999999", 3, None),
     ("bytes = 4 - 5", 4, 6), ("bytes=-99999999", 0, None)],
)  # fmt: skip
def test_a_part_of_a_file_is_sent(filled: Filled, wanted: str, begin: int, end: int | None) -> None:
    path, content = _some(filled)
    found = filled.api.get(f"{_path(filled)}/{path}", headers={"range": wanted})
    assert found.status_code == 206
    assert found.content == content[begin:end]
    first = begin if begin >= 0 else len(content) + begin
    last = first + len(found.content) - 1
    assert found.headers["content-range"] == f"bytes {first}-{last}/{len(content)}"
    head = filled.api.ask("HEAD", f"{_path(filled)}/{path}", headers={"range": wanted})
    assert (head.status_code, head.headers["content-length"]) == (206, str(len(found.content)))


@pytest.mark.parametrize(
    "wanted", ["bytes=9-2", "bytes=x-y", "pages=1-2", "bytes=", "bytes=-", "bytes=0-1,4-5", ""]
)
def test_a_range_that_cannot_be_read_asks_for_the_whole(filled: Filled, wanted: str) -> None:
    path, content = _some(filled)
    found = filled.api.get(f"{_path(filled)}/{path}", headers={"range": wanted})
    assert (found.status_code, found.content) == (200, content)


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=99999999-100000000", "bytes=-0"])
def test_a_range_beyond_the_end_says_how_long_the_file_is(filled: Filled, wanted: str) -> None:
    path, content = _some(filled)
    found = filled.api.get(f"{_path(filled)}/{path}", headers={"range": wanted})
    assert (found.status_code, found.json()["code"]) == (416, "ERR_RANGE_NOT_SATISFIABLE")
    assert found.headers["content-range"] == f"bytes */{len(content)}"


def test_a_download_goes_on_only_with_the_same_file(filled: Filled) -> None:
    path, content = _some(filled)
    etag = filled.api.ask("HEAD", f"{_path(filled)}/{path}").headers["etag"]
    same = {"range": "bytes=4-", "if-range": etag}
    assert filled.api.get(f"{_path(filled)}/{path}", headers=same).content == content[4:]
    for other in ('"sha256:00"', f"W/{etag}", "Wed, 21 Oct 2026 07:28:00 GMT"):
        found = filled.api.get(f"{_path(filled)}/{path}", headers={"range": "bytes=4-", "if-range": other})
        assert (found.status_code, found.content) == (200, content)


def test_a_file_that_is_known_is_not_sent_again(filled: Filled) -> None:
    path, _ = _some(filled)
    etag = filled.api.ask("HEAD", f"{_path(filled)}/{path}").headers["etag"]
    for told in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        found = filled.api.get(f"{_path(filled)}/{path}", headers={"if-none-match": told})
        assert (found.status_code, found.content, found.headers["etag"]) == (304, b"", etag)


@pytest.mark.parametrize(
    "path",
    ["nothing", "data", "..%2F..%2Fservice.db", "../../../service.db", "%2Fetc%2Fpasswd", "data/%00", "x" * 5000,
     "..\\..\\service.db", "data//raw", "%2e%2e/%2e%2e/service.db"],
)  # fmt: skip
def test_nothing_but_the_files_of_the_bundle_is_there(filled: Filled, path: str) -> None:
    found = filled.api.get(f"{_path(filled)}/{path}")
    assert found.status_code in (400, 404), found.text
    assert "SQLite" not in found.text


def test_manifest_and_provenance_are_the_signed_bytes(filled: Filled) -> None:
    for name, path in (("manifest", "export.json"), ("provenance", "provenance.json")):
        found = filled.api.get(f"{_RUNS}/{filled.run.id}/{name}")
        assert found.headers["content-type"] == "application/json"
        assert found.content == filled.api.get(f"{_path(filled)}/{path}").content


def test_a_run_without_a_bundle_says_so(filled: Filled) -> None:
    run = filled.api.post(_RUNS, {"profile": "json:raw"}).json()["runId"]
    for part in ("artifacts", "artifacts/export.json", "manifest", "provenance"):
        found = filled.api.get(f"{_RUNS}/{run}/{part}")
        assert (found.status_code, found.json()["code"]) == (410, "ERR_EXPORT_BUNDLE_GONE")
    assert filled.api.post(f"{_RUNS}/{run}/verify").status_code == 410
    filled.api.post(f"{_RUNS}/{run}/cancel")


def test_what_a_held_run_has_built_is_not_handed_out(filled: Filled) -> None:
    runs = filled.api.local.runs
    run = filled.api.finished_run("trivy:db")
    held = runs.change(replace(run, status=RunStatus.HELD))
    assert filled.api.get(f"{_RUNS}/{run.id}/artifacts/export.json").status_code == 410
    assert filled.api.post(f"{_RUNS}/{run.id}/verify").json()["verdict"] == "ok"  # for who is to judge it
    runs.change(replace(held, status=RunStatus.SUCCEEDED))


def test_a_bundle_is_verified_by_the_keys_of_its_tenant(filled: Filled) -> None:
    report = filled.api.post(f"{_RUNS}/{filled.run.id}/verify").json()
    assert (report["verdict"], report["exportId"]) == ("ok", filled.run.export_id)
    assert filled.run.archive is not None
    root = filled.api.local.artefacts.local_root(filled.run.archive)
    assert root is not None
    damaged = root / "README.md"
    kept = damaged.read_bytes()
    try:
        damaged.write_bytes(kept + b"\n")
        report = filled.api.post(f"{_RUNS}/{filled.run.id}/verify").json()
    finally:
        damaged.write_bytes(kept)
    assert report["verdict"] == "failed"
    assert any(check["status"] == "failed" for check in report["checks"])
