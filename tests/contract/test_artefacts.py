"""Stores of artefacts: a directory, and a bucket on a real S3 server."""

from __future__ import annotations

import os
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import obstore
import pytest

from stellaops.adapters.files.workspace import TargetExists
from stellaops.adapters.objects.directory import DirectoryArtefacts
from stellaops.adapters.objects.opening import AccessKeyMissing
from stellaops.adapters.objects.s3 import (
    BadObjectStore,
    ObjectStoreFailed,
    ObjectStoreRefused,
    S3Artefacts,
    S3Place,
)
from stellaops.adapters.web.sigv4 import AccessKey
from stellaops.authority.manage_keys import create_key
from stellaops.exports import control_runs, manage_runs
from stellaops.exports.diff_exports import diff_exports
from stellaops.exports.distribution.links import LinkingStore
from stellaops.exports.errors import ArtefactMissing, BundleGone
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.ports import ArtefactStore, StoredFile
from stellaops.exports.resign_exports import ResignTools, resign_exports
from stellaops.exports.run import Archive
from stellaops.exports.run_export import run_export
from stellaops.kit.verify import verify_bundle
from tests.support import faulty_server, s3
from tests.unit.exports.executing import TENANT, Service, document

ONE = Archive("export-one", "archive-a")
FILES = {
    "export.json": b'{"exportId":"export-one"}',
    "data/raw/advisories/00000.jsonl.zst": bytes(range(256)) * 11_000,
    "empty": b"",
    "signatures/export.sig": b"signature",
}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Bucket]:
    with s3.serving(tmp_path_factory.mktemp("s3")) as found:
        yield found


def place(bucket: s3.Bucket, prefix: str, **more: object) -> S3Place:
    endpoint, _, name = bucket.url.rstrip("/").rpartition("/")
    values: dict[str, object] = {
        "region": "us-east-1",
        "endpoint": endpoint,
        "key": bucket.key,
        "plain": True,
    }
    return S3Place(f"s3://{name}/{prefix}", **(values | more))  # type: ignore[arg-type]


@pytest.fixture(params=["directory", "s3"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ArtefactStore]:
    """Opens the same store again and again, as other processes would."""
    if request.param == "directory":
        return lambda: DirectoryArtefacts(tmp_path / "kept")
    bucket = request.getfixturevalue("bucket")
    return lambda: S3Artefacts(place(bucket, f"exports/{tmp_path.name}/"), tmp_path / "scratch")


@pytest.fixture
def store(opening: Callable[[], ArtefactStore]) -> ArtefactStore:
    return opening()


def grown(directory: Path, files: dict[str, bytes]) -> Path:
    """A bundle root."""
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    return directory


def content(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def put(
    store: ArtefactStore,
    directory: Path,
    archive: Archive = ONE,
    changes: Mapping[str, bytes | None] = MappingProxyType({}),
) -> None:
    files = {**FILES, **changes}
    store.put(archive, grown(directory, {path: data for path, data in files.items() if data is not None}))


def test_a_bundle_is_kept_file_by_file_as_it_was(
    opening: Callable[[], ArtefactStore], store: ArtefactStore, tmp_path: Path
) -> None:
    assert not store.exists(ONE)
    assert list(store.files(ONE)) == []
    put(store, tmp_path / "grown")
    other = opening()
    assert other.exists(ONE)
    assert list(other.files(ONE)) == [StoredFile(path, len(data)) for path, data in sorted(FILES.items())]
    for path, data in FILES.items():
        assert other.stat(ONE, path) == StoredFile(path, len(data))
        assert b"".join(other.read(ONE, path)) == data
    with other.opened(ONE) as root:
        assert content(root) == FILES
    assert not other.exists(Archive("export-one", "archive-b"))
    assert not other.exists(Archive("export-on", "archive-a"))


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (5, 5), (0, None), (1 << 20, None), (7, 2_000_007), (2_815_999, 2_816_000), (2_815_999, 9**9)],
)
def test_a_range_is_the_bytes_between(
    start: int, end: int | None, store: ArtefactStore, tmp_path: Path
) -> None:
    put(store, tmp_path / "grown")
    path = "data/raw/advisories/00000.jsonl.zst"
    pieces = list(store.read(ONE, path, start, end))
    assert b"".join(pieces) == FILES[path][start:end]
    assert all(0 < len(piece) <= 1 << 20 for piece in pieces)
    assert b"".join(store.read(ONE, "empty")) == b""


@pytest.mark.parametrize(
    "path",
    ["no", "", "data", "data/", "/export.json", "../archive-a/export.json", "data/../export.json", "a\x00b", "x" * 2000,
     "export.json/", "./export.json", "..", "data//raw", "data\\raw", "\udcff"],
)  # fmt: skip
def test_what_is_no_file_of_the_bundle_is_not_found(path: str, store: ArtefactStore, tmp_path: Path) -> None:
    put(store, tmp_path / "grown")
    assert store.stat(ONE, path) is None
    assert store.local_file(ONE, path) is None
    with pytest.raises(ArtefactMissing):
        store.read(ONE, path)


def test_an_equal_bundle_is_kept_and_other_signatures_take_the_place_of_the_earlier_ones(
    store: ArtefactStore, tmp_path: Path
) -> None:
    put(store, tmp_path / "one")
    put(store, tmp_path / "two")
    assert b"".join(store.read(ONE, "signatures/export.sig")) == b"signature"
    again: dict[str, bytes | None] = {"signatures/export.sig": None, "signatures/export.sigstore.json": b"{}"}
    put(store, tmp_path / "three", changes=again)
    expected = {path: data for path, data in {**FILES, **again}.items() if data is not None}
    with store.opened(ONE) as root:
        assert content(root) == expected
    assert [file.path for file in store.files(ONE)] == sorted(expected)


def test_a_copy_is_the_bundle_and_only_into_an_empty_place(store: ArtefactStore, tmp_path: Path) -> None:
    put(store, tmp_path / "grown")
    store.copy(ONE, tmp_path / "deep" / "out")
    assert content(tmp_path / "deep" / "out") == FILES
    assert (tmp_path / "deep" / "out").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "deep" / "out" / "data" / "raw").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "deep" / "out" / "export.json").stat().st_mode & 0o777 == 0o644
    (tmp_path / "empty").mkdir()
    store.copy(ONE, tmp_path / "empty")
    with pytest.raises(TargetExists):
        store.copy(ONE, tmp_path / "empty")
    with pytest.raises(BundleGone):
        store.copy(Archive("no", "no"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not [path for path in tmp_path.rglob("*") if ".partial-" in path.name]


def test_a_deleted_bundle_is_gone_and_others_stay(store: ArtefactStore, tmp_path: Path) -> None:
    other = Archive("export-one", "archive-b")
    put(store, tmp_path / "one")
    put(store, tmp_path / "two", other)
    store.delete(ONE)
    store.delete(ONE)
    assert not store.exists(ONE)
    assert store.stat(ONE, "export.json") is None
    assert store.exists(other)
    with pytest.raises(BundleGone), store.opened(ONE):
        pass
    put(store, tmp_path / "three")
    with store.opened(ONE) as root:
        assert content(root) == FILES


def test_a_directory_is_taken_over_from_another_file_system_too(tmp_path: Path) -> None:
    places = [Path(name) for name in ("/dev/shm", "/var/tmp", "/tmp") if os.access(name, os.W_OK)]
    elsewhere = [each for each in places if each.stat().st_dev != tmp_path.stat().st_dev]
    if not elsewhere:
        pytest.skip("there is one file system only")
    grown_there = elsewhere[0] / f"grown-{os.getpid()}-{tmp_path.name}"
    try:
        store = DirectoryArtefacts(tmp_path / "kept")
        for _ in range(2):
            put(store, grown_there)
            with store.opened(ONE) as root:
                assert content(root) == FILES
        assert list((tmp_path / "kept" / ".staging").iterdir()) == []
    finally:
        shutil.rmtree(grown_there, ignore_errors=True)


def test_a_link_in_a_directory_is_no_file_of_the_bundle(tmp_path: Path) -> None:
    store = DirectoryArtefacts(tmp_path / "kept")
    put(store, tmp_path / "grown")
    (tmp_path / "secret").write_text("x", encoding="utf-8")
    (tmp_path / "kept" / "export-one" / "archive-a" / "link").symlink_to(tmp_path / "secret")
    assert store.local_file(ONE, "link") is None
    assert store.stat(ONE, "link") is None


# ---- what only a bucket has


def test_a_bundle_in_a_bucket_is_not_there_before_its_last_file_is(
    bucket: s3.Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Artefacts(place(bucket, tmp_path.name), tmp_path / "scratch")
    really_put, sent = obstore.put, list[str]()

    def breaks_in_the_middle(target: Any, path: str, *more: Any, **others: Any) -> Any:
        sent.append(path)
        if len(sent) == 3:
            raise ConnectionError("cut")
        return really_put(target, path, *more, **others)

    monkeypatch.setattr(obstore, "put", breaks_in_the_middle)
    with pytest.raises(ObjectStoreFailed):
        put(store, tmp_path / "one")
    assert not store.exists(ONE)
    with pytest.raises(ArtefactMissing):
        store.read(ONE, "export.json")
    monkeypatch.undo()
    put(store, tmp_path / "two")
    with store.opened(ONE) as root:
        assert content(root) == FILES


def test_what_is_in_a_bucket_as_it_was_written_is_not_sent_again_and_what_is_damaged_is(
    bucket: s3.Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Artefacts(place(bucket, tmp_path.name), tmp_path / "scratch")
    put(store, tmp_path / "one")
    really_put, sent = obstore.put, list[str]()

    def noted(target: Any, path: str, *more: Any, **others: Any) -> Any:
        sent.append(path.rpartition("archive-a")[2])
        return really_put(target, path, *more, **others)

    monkeypatch.setattr(obstore, "put", noted)
    put(store, tmp_path / "two")
    assert sent == []
    bucket.put(f"{tmp_path.name}/export-one/archive-a/export.json", b'{"exportId":"export-two"}')
    put(store, tmp_path / "three")
    assert sent == ["/export.json"]
    assert b"".join(store.read(ONE, "export.json")) == FILES["export.json"]


def test_a_bucket_gives_links_of_its_own(bucket: s3.Bucket, tmp_path: Path) -> None:
    store = S3Artefacts(place(bucket, tmp_path.name), tmp_path / "scratch")
    assert isinstance(store, LinkingStore)
    assert not isinstance(DirectoryArtefacts(tmp_path), LinkingStore)
    put(store, tmp_path / "grown")
    path = "data/raw/advisories/00000.jsonl.zst"
    url = store.link(ONE, path, 60)
    assert bucket.key.secret not in url
    with urllib.request.urlopen(url) as reply:  # noqa: S310
        assert reply.read() == FILES[path]
    for changed in (url.replace("00000", "00001"), url.replace("X-Amz-Expires=60", "X-Amz-Expires=61")):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(changed)  # noqa: S310


def test_a_byte_that_changes_on_the_way_to_a_bucket_is_refused(bucket: s3.Bucket, tmp_path: Path) -> None:
    with faulty_server.before(bucket.url.rstrip("/").rpartition("/")[0]) as faulty:
        store = S3Artefacts(place(bucket, tmp_path.name, endpoint=faulty.url), tmp_path / "scratch")
        flip = faulty_server.FlipRequest(at=1000)
        faulty.misbehave = faulty_server.always(
            flip, lambda seen: seen.method == "PUT" and seen.length > 2000
        )
        with pytest.raises(ObjectStoreFailed):
            put(store, tmp_path / "grown")
        assert faulty.met > 0
        assert not store.exists(ONE)


def test_a_wrong_key_is_refused_and_shows_nowhere(bucket: s3.Bucket, tmp_path: Path) -> None:
    wrong = AccessKey(bucket.key.id, "0" * 40)
    store = S3Artefacts(place(bucket, "x", key=wrong), tmp_path)
    for call in (
        lambda: store.exists(ONE),
        lambda: put(store, tmp_path / "grown"),
        lambda: store.delete(ONE),
    ):
        with pytest.raises(ObjectStoreRefused) as refused:
            call()
        assert "0" * 40 not in str(refused.value)
    assert "0" * 40 not in repr(place(bucket, "x", key=wrong))


def test_a_bucket_that_is_not_there_is_told(bucket: s3.Bucket, tmp_path: Path) -> None:
    nowhere = S3Place("s3://no-such-bucket", "us-east-1", place(bucket, "").endpoint, bucket.key, plain=True)
    with pytest.raises((ObjectStoreFailed, ObjectStoreRefused)):
        put(S3Artefacts(nowhere, tmp_path), tmp_path / "grown")


def test_a_server_that_does_not_answer_is_told(bucket: s3.Bucket, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        endpoint = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    store = S3Artefacts(S3Place("s3://feeds", "us-east-1", endpoint, bucket.key, plain=True), tmp_path)
    with pytest.raises(ObjectStoreFailed):
        store.exists(ONE)


def test_a_key_from_a_file_is_not_mixed_with_the_keys_of_the_environment(
    bucket: s3.Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-someone-else")
    store = S3Artefacts(place(bucket, tmp_path.name), tmp_path / "scratch")
    put(store, tmp_path / "grown")
    assert store.exists(ONE)


@pytest.mark.parametrize(
    "address", ["http://bucket/x", "s3://", "bucket", "s3://user:secret@bucket/", "s3://b/?x=1"]
)
def test_an_address_that_is_none_of_a_bucket_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(BadObjectStore):
        S3Artefacts(S3Place(address, "us-east-1"), tmp_path)


def test_a_store_without_tls_must_be_allowed(tmp_path: Path) -> None:
    with pytest.raises(BadObjectStore, match="without TLS"):
        S3Artefacts(S3Place("s3://bucket", "us-east-1", "http://objects:9000"), tmp_path)


# ---- a bucket in the settings


def in_settings(bucket: s3.Bucket, directory: Path) -> dict[str, str]:
    """The variables of a data directory whose bundles lie in the bucket."""
    endpoint, _, name = bucket.url.rstrip("/").rpartition("/")
    key = directory / "key"
    key.write_text(
        f"[default]\naws_access_key_id = {bucket.key.id}\naws_secret_access_key = {bucket.key.secret}\n",
        encoding="utf-8",
    )
    return {
        "STELLA_ARTEFACTS_STORE": f"s3://{name}/{directory.name}",
        "STELLA_ARTEFACTS_ENDPOINT": endpoint,
        "STELLA_ARTEFACTS_KEY_FILE": str(key),
        "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1",
    }


def test_runs_need_the_databases_and_the_bucket_alone(bucket: s3.Bucket, tmp_path: Path) -> None:
    service = Service(tmp_path, variables=in_settings(bucket, tmp_path))
    service.take(document(1), document(2))
    recipe = service.profile()
    first = run_export(RunRequest("run-a", TENANT, recipe, {}), service.tools)
    assert not [path for path in (tmp_path / "data" / "exports").rglob("*") if path.is_file()]
    second = run_export(RunRequest("run-b", TENANT, recipe, {}), service.tools)
    assert (second.shared_from, second.archive) == (first.id, first.archive)
    manage_runs.download(second, tmp_path / "out", service.local.artefacts, service.local.statements)
    trusted, _ = service.local.tenant_keys.trusted(TENANT)
    assert verify_bundle(tmp_path / "out", trusted).verdict == "ok"
    service.take(document(3))
    third = run_export(RunRequest("run-c", TENANT, recipe, {}), service.tools)
    with (
        manage_runs.opened(first, service.local.artefacts) as old,
        manage_runs.opened(third, service.local.artefacts) as new,
    ):
        assert diff_exports(old, new).to_wire()["added"] == 1
    assert control_runs.delete_run(first, service.control_tools) == ["run run-a"]
    control_runs.delete_run(second, service.control_tools)
    assert first.archive is not None
    assert not service.local.artefacts.exists(first.archive)
    assert not list((tmp_path / "data" / "exports" / ".staging").iterdir())


def test_exports_in_a_bucket_are_signed_again_after_a_rotation(bucket: s3.Bucket, tmp_path: Path) -> None:
    service = Service(tmp_path, variables=in_settings(bucket, tmp_path))
    service.take(document(1))
    run = run_export(RunRequest("run-a", TENANT, service.profile(), {}), service.tools)
    assert run.archive is not None
    before = b"".join(service.local.artefacts.read(run.archive, "signatures/export.sig"))
    local = service.local
    create_key(local.keys, TENANT, now=service.now())
    tools = ResignTools(
        local.runs, local.workspace, local.artefacts, local.tenant_keys, local.profiles, local.bundle_turns
    )
    assert [done.problem for done in resign_exports(TENANT, tools)] == [None]
    assert b"".join(local.artefacts.read(run.archive, "signatures/export.sig")) != before
    with local.artefacts.opened(run.archive) as root:
        assert verify_bundle(root, local.tenant_keys.trusted(TENANT)[0]).verdict == "ok"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"STELLA_ARTEFACTS_STORE": "/mnt/exports"}, BadObjectStore),
        ({"STELLA_EGRESS_ALLOW_HTTP": "elsewhere"}, BadObjectStore),
        ({"STELLA_ARTEFACTS_KEY_FILE": "/nonexistent/key"}, AccessKeyMissing),
        ({"STELLA_ARTEFACTS_KEY_FILE": "/dev/null"}, AccessKeyMissing),
    ],
)
def test_settings_of_a_bucket_that_cannot_be_are_told(
    changes: dict[str, str], error: type[Exception], bucket: s3.Bucket, tmp_path: Path
) -> None:
    service = Service(tmp_path, variables=in_settings(bucket, tmp_path) | changes)
    with pytest.raises(error):
        _ = service.local.artefacts
