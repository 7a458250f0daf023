"""VEX over HTTP: VEX repositories, and CSAF providers whose documents are taken for their statements."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pysequoia import Tsk

from stellaops.adapters.files.inputs import FileInputs
from stellaops.adapters.keys.openpgp import OpenPgpKeyMissing, SequoiaOpenPgp, read_keys
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.layouts.interface import BadDefinition
from stellaops.ingest.manage_sources import check_definition
from stellaops.ingest.model import ImportReport
from stellaops.ingest.pull import PullTools
from stellaops.ingest.pull_model import Definition, PullReport
from tests.contract.stores import NOON, Store
from tests.support.csaf_provider import HOME, METADATA, Provider, served
from tests.support.pulling import Puller, ok
from tests.support.web import Answer, Cut, Request, Upstream, serving

MAY, JUNE, JULY = "2024-05-01T00:00:00Z", "2024-06-01T00:00:00Z", "2024-07-01T00:00:00Z"


class SignedPuller(Puller):
    """Pulls that check signatures, as the product's own tools do."""

    @property
    def tools(self) -> PullTools:
        return dataclasses.replace(
            super().tools,
            openpgp=SequoiaOpenPgp(),
            keys_of=lambda definition: read_keys(definition.openpgp_keys),
        )


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server


@pytest.fixture
def puller(store: Store, tmp_path: Path) -> Puller:
    return SignedPuller(store, store.engine, tmp_path)


def take(store: Store, path: Path, feed: str) -> ImportReport:
    """Import a file or folder under the name of the pulled source."""
    return import_documents(
        ImportRequest("demo", feed), FileInputs([path]), sources=store.sources, store=store.imports, now=lambda: NOON,
        openpgp=SequoiaOpenPgp(),
    )  # fmt: skip


def done(report: PullReport) -> ImportReport:
    assert report.report is not None
    return report.report


# ---- VEX repositories

ARCHIVE = "/archive/main.tar.gz"


def openvex(status: str, timestamp: str = MAY, package: str = "pkg:npm/left-pad") -> bytes:
    return json.dumps(
        {
            "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/vex/1", "author": "Left Pad",
            "role": "supplier", "timestamp": timestamp, "version": 1,
            "statements": [{"vulnerability": {"name": "CVE-2024-0001"}, "products": [{"@id": package}],
                            "status": status, "justification": "vulnerable_code_not_present"}],
        }
    ).encode()  # fmt: skip


def packed(files: dict[str, bytes], folder: str = "hub-main") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(f"{folder}/{path}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def hub(*packages: str, status: str = "not_affected") -> dict[str, bytes]:
    documents = {f"pkg/npm/{name}/vex.json": openvex(status, package=f"pkg:npm/{name}") for name in packages}
    index = {"updated_at": MAY, "packages": [{"id": f"pkg:npm/{name}", "location": f"pkg/npm/{name}/vex.json",
                                              "format": "openvex"} for name in packages]}  # fmt: skip
    return {"index.json": json.dumps(index).encode(), **documents}


def manifest(url: str, name: str = "Hub") -> bytes:
    location = {"spec_version": "0.1", "locations": [{"url": url}], "update_interval": "24h"}
    return json.dumps({"name": name, "versions": [location]}).encode()


def serve(upstream: Upstream, files: dict[str, bytes], subfolder: str = "//hub-main") -> None:
    upstream.files = {
        "/.well-known/vex-repository.json": manifest(f"{upstream.url}{ARCHIVE[1:]}{subfolder}"),
        ARCHIVE: packed(files),
    }


def repository(upstream: Upstream, **more: Any) -> Definition:
    return Definition("demo", "vex-repository", upstream.url, feed="openvex", prune=True, **more)


def test_a_vex_repository_is_pulled_and_equals_the_import_of_its_archive(
    puller: Puller, upstream: Upstream, tmp_path: Path
) -> None:
    serve(upstream, hub("left-pad", "right-pad"))
    report = ok(puller.pull(repository(upstream)))
    assert (done(report).added, done(report).statements, done(report).quarantined) == (2, 2, 0)
    pulled = puller.store.lines()
    file = tmp_path / "main.tar.gz"
    file.write_bytes(packed(hub("left-pad", "right-pad")))
    taken = take(puller.store, file, "openvex")
    assert (taken.added, taken.changed, taken.unchanged) == (0, 0, 2)
    assert puller.store.lines() == pulled


def test_the_archive_is_sent_again_only_when_it_changed(puller: Puller, upstream: Upstream) -> None:
    serve(upstream, hub("left-pad", "right-pad"))
    ok(puller.pull(repository(upstream)))
    before = puller.store.sequence
    upstream.forget()
    report = ok(puller.pull(repository(upstream)))
    assert (report.report, report.not_modified, upstream.sent_paths) == (None, 1, [])
    assert puller.store.sequence == before
    serve(upstream, hub("left-pad", "centre", status="fixed"))
    report = ok(puller.pull(repository(upstream)))
    assert (done(report).added, done(report).changed, done(report).vanished) == (1, 1, 1)


def test_only_the_folder_that_the_manifest_names_is_the_repository(
    puller: Puller, upstream: Upstream
) -> None:
    files = {f"hub/{path}": content for path, content in hub("left-pad").items()}
    serve(upstream, {**files, "other/vex.json": openvex("affected")}, "//hub-main/hub")
    ok(puller.pull(repository(upstream)))
    assert puller.store.keys() == ["hub-main/hub/pkg/npm/left-pad/vex.json"]


def test_an_archive_whose_address_has_no_ending_is_told_by_its_query(
    puller: Puller, upstream: Upstream
) -> None:
    address = "/download?archive=tar.gz"
    upstream.files = {
        "/.well-known/vex-repository.json": manifest(f"{upstream.url}{address[1:]}"),
        address: packed(hub("left-pad")),
    }
    assert done(ok(puller.pull(repository(upstream)))).added == 1


def test_an_archive_on_another_host_is_fetched_only_where_that_is_allowed(
    puller: Puller, upstream: Upstream
) -> None:
    serve(upstream, hub("left-pad"))
    elsewhere = upstream.url.replace("127.0.0.1", "localhost")
    upstream.files["/.well-known/vex-repository.json"] = manifest(f"{elsewhere}{ARCHIVE[1:]}//hub-main")
    report = puller.pull(repository(upstream))
    assert report.state == "failed"
    assert "localhost" in report.error_text
    host = elsewhere.split("/")[2]
    ok(puller.pull(repository(upstream, hosts=(host,)), at_once=True))


def test_a_download_that_breaks_off_goes_on_where_it_was(puller: Puller, upstream: Upstream) -> None:
    serve(upstream, hub(*(f"package-{number}" for number in range(60))))
    size = len(upstream.files[ARCHIVE])  # type: ignore[arg-type]
    puller.small = 100
    upstream.misbehave = lambda request: (
        Cut(size // 2) if request.path == ARCHIVE and request.number == 1 else None
    )
    assert done(ok(puller.pull(repository(upstream)))).added == 60
    (again,) = [request for request in upstream.requests if "range" in request.headers]
    assert again.path == ARCHIVE


@pytest.mark.parametrize(
    "content", [b"", b"<html></html>", b"{}", manifest("x").replace(b"0.1", b"9.9"), b'{"versions": [']
)
def test_a_manifest_that_names_no_archive_changes_nothing(
    puller: Puller, upstream: Upstream, content: bytes
) -> None:
    serve(upstream, hub("left-pad"))
    ok(puller.pull(repository(upstream)))
    before = puller.store.digest()
    upstream.files["/.well-known/vex-repository.json"] = content
    report = puller.pull(repository(upstream), full=True)
    assert (report.state, report.error_code) == ("failed", "ERR_PULL_LISTING")
    assert puller.store.digest() == before


def test_an_archive_that_is_cut_off_changes_nothing(puller: Puller, upstream: Upstream) -> None:
    serve(upstream, hub("left-pad"))
    ok(puller.pull(repository(upstream)))
    before = puller.store.digest()
    whole = packed(hub("left-pad", "right-pad"))
    upstream.files[ARCHIVE] = whole[: len(whole) - 20]
    assert puller.pull(repository(upstream)).state == "failed"
    assert puller.store.digest() == before


# ---- CSAF providers


@pytest.fixture
def provider() -> Provider:
    made = Provider(signing=Tsk.generate("Example PSIRT <psirt@example.com>"))
    made.put("2024/cve-2024-0001", MAY)
    made.put("2024/cve-2024-0002", MAY, status="known_not_affected")
    return made


def source(upstream: Upstream, path: str = METADATA, **more: Any) -> Definition:
    options = {"hash": "sha256", **more.pop("options", {})}
    return Definition(
        "demo", "csaf-provider", f"{upstream.url}{path}", feed="csaf-vex", options=options, **more
    )


def offer(upstream: Upstream, provider: Provider) -> None:
    upstream.files = served(provider.announce(upstream.url))


def checked(store: Store, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.one(f"{HOME}2024/{name}.json").checked)
    return found


def test_a_provider_is_pulled_with_hashes_and_signatures_checked(
    puller: Puller, upstream: Upstream, provider: Provider
) -> None:
    offer(upstream, provider)
    report = done(ok(puller.pull(source(upstream))))
    assert (report.added, report.statements, report.feed, report.database) == (2, 2, "csaf-vex", "vex")
    assert report.checks is not None
    assert (report.checks.hashes_good, report.checks.signatures_good, report.checks.unsigned) == (2, 2, 0)
    assert checked(puller.store, "cve-2024-0001") == {"hashes": ["sha256"], "signature": "verified"}


def test_a_pull_of_a_provider_equals_the_import_of_a_copy(
    puller: Puller, upstream: Upstream, provider: Provider, tmp_path: Path
) -> None:
    offer(upstream, provider)
    ok(puller.pull(source(upstream)))
    pulled, sequence = puller.store.lines(), puller.store.sequence
    report = take(puller.store, provider.write(tmp_path / "copy"), "csaf-vex")
    assert (report.added, report.changed, report.unchanged) == (0, 0, 2)
    assert report.checks is not None
    assert (report.checks.signatures_good, report.checks.hashes_good) == (2, 2)
    assert (puller.store.lines(), puller.store.sequence) == (pulled, sequence)


def test_only_what_changed_is_fetched_with_its_signature(
    puller: Puller, upstream: Upstream, provider: Provider
) -> None:
    provider.put("2024/cve-2024-0002", JUNE)  # beyond the overlap after the other
    offer(upstream, provider)
    ok(puller.pull(source(upstream)))
    provider.put("2024/cve-2024-0002", JULY, status="fixed")
    provider.put("2024/cve-2024-0003", JULY)
    offer(upstream, provider)
    upstream.forget()
    report = ok(puller.pull(source(upstream)))
    assert (done(report).added, done(report).changed) == (1, 1)
    documents = [path for path in upstream.sent_paths if "/cve-" in path]
    assert not [path for path in documents if "0001" in path]
    assert len(documents) == 2 * 3  # each with hash and signature
    upstream.forget()
    report = ok(puller.pull(source(upstream)))
    assert (report.report, [path for path in upstream.sent_paths if path.endswith(".json")]) == (None, [])


def test_a_wrong_signature_sets_the_document_aside_until_it_is_put_right(
    puller: Puller, upstream: Upstream, provider: Provider
) -> None:
    offer(upstream, provider)
    place = f"/{HOME}2024/cve-2024-0001.json.asc"
    right = upstream.files[place]
    upstream.files[place] = upstream.files[place.replace("0001", "0002")]
    report = done(ok(puller.pull(source(upstream))))
    assert (report.added, report.quarantined) == (1, 1)
    assert puller.store.reasons("demo") == [(f"{HOME}2024/cve-2024-0001.json", "signature")]
    upstream.files[place] = right
    report = done(ok(puller.pull(source(upstream), full=True)))
    assert (report.added, report.unchanged, report.quarantined) == (1, 1, 0)
    assert puller.store.reasons("demo") == []


def test_a_document_without_a_signature_passes_unless_the_operator_named_a_key(
    puller: Puller, upstream: Upstream, provider: Provider, tmp_path: Path
) -> None:
    offer(upstream, provider)
    del upstream.files[f"/{HOME}2024/cve-2024-0001.json.asc"]
    report = done(ok(puller.pull(source(upstream))))
    assert report.checks is not None
    assert (report.added, report.checks.unsigned) == (2, 1)
    assert checked(puller.store, "cve-2024-0001") == {"hashes": ["sha256"], "signature": "absent"}
    key = tmp_path / "key.asc"
    key.write_bytes(provider.public)
    report = done(ok(puller.pull(source(upstream, openpgp_keys=(str(key),)), full=True)))
    assert (report.unchanged, report.quarantined) == (1, 1)


def test_a_key_that_the_operator_names_stands_over_those_of_the_metadata(
    puller: Puller, upstream: Upstream, provider: Provider, tmp_path: Path
) -> None:
    other = Provider(signing=Tsk.generate("Another <other@example.com>"))
    key = tmp_path / "key.asc"
    key.write_bytes(other.public)
    offer(upstream, provider)
    definition = source(upstream, openpgp_keys=(str(key),))
    report = done(ok(puller.pull(definition)))
    assert (report.added, report.quarantined) == (0, 2)
    key.unlink()
    failed = puller.pull(definition, at_once=True)
    assert (failed.state, failed.error_code) == ("failed", OpenPgpKeyMissing.code)


def test_with_a_key_of_the_operators_a_bare_listing_is_checked_too(
    puller: Puller, upstream: Upstream, provider: Provider, tmp_path: Path
) -> None:
    key = tmp_path / "key.asc"
    key.write_bytes(provider.public)
    offer(upstream, provider)
    definition = source(upstream, f"{HOME}changes.csv", openpgp_keys=(str(key),))
    report = done(ok(puller.pull(definition)))
    assert report.checks is not None
    assert (report.added, report.checks.signatures_good) == (2, 2)


def test_signatures_are_left_alone_where_there_is_no_key_or_no_wish(
    puller: Puller, upstream: Upstream, provider: Provider
) -> None:
    offer(upstream, provider)
    for definition in (
        source(upstream, f"{HOME}changes.csv"),
        source(upstream, options={"signatures": "none"}),
    ):
        ok(puller.pull(definition, full=True))
    assert not [path for path in upstream.sent_paths if path.endswith(".json.asc")]


def test_a_key_on_a_host_that_is_not_allowed_leaves_signatures_unverified(
    puller: Puller, upstream: Upstream, provider: Provider
) -> None:
    offer(upstream, provider)
    elsewhere = upstream.url.replace("127.0.0.1", "localhost").encode()
    metadata = upstream.files[f"/{METADATA}"]
    assert isinstance(metadata, bytes)
    upstream.files[f"/{METADATA}"] = metadata.replace(
        upstream.url.encode() + b"openpgp", elsewhere + b"openpgp"
    )
    report = done(ok(puller.pull(source(upstream))))
    assert report.checks is not None
    assert (report.added, report.checks.signatures_good) == (2, 0)
    host = elsewhere.decode().split("/")[2]
    report = done(ok(puller.pull(source(upstream, hosts=(host,)), full=True)))
    assert report.checks is not None
    assert report.checks.signatures_good == 2


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_document_that_is_not_that_of_its_hash_is_not_taken(
    puller: Puller, upstream: Upstream, provider: Provider, algorithm: str
) -> None:
    offer(upstream, provider)
    upstream.files[f"/{HOME}2024/cve-2024-0001.json.{algorithm}"] = b"ab" * 64
    report = puller.pull(source(upstream, options={"hash": algorithm}))
    assert report.state == "partial"
    assert (done(report).added, [each.url.rpartition("/")[2] for each in report.failed]) == (
        1, ["cve-2024-0001.json"],
    )  # fmt: skip
    provider.publish()
    offer(upstream, provider)
    report = ok(puller.pull(source(upstream, options={"hash": algorithm}), at_once=True))
    assert done(report).added == 1


def test_a_server_that_falters_is_asked_again(puller: Puller, upstream: Upstream, provider: Provider) -> None:
    for number in range(3, 40):
        provider.put(f"2024/cve-2024-00{number:02}", MAY)
    offer(upstream, provider)

    def falter(request: Request) -> Answer | Cut | None:
        if request.number > 1:
            return None
        # By the path, so that every document meets one kind of trouble, whatever the order of requests.
        return (Answer(503, {"Retry-After": "1"}), Answer(429), Cut(10), None)[sum(request.path.encode()) % 4]

    upstream.misbehave = falter
    report = done(ok(puller.pull(source(upstream))))
    assert report.checks is not None
    assert (report.added, report.checks.signatures_good, report.quarantined) == (39, 39, 0)
    assert puller.waits


def test_the_pull_goes_on_after_it_was_killed_between_fetching_and_importing(
    puller: Puller, upstream: Upstream, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(upstream, provider)
    ok(puller.pull(source(upstream)))
    provider.put("2024/cve-2024-0003", JUNE)
    provider.delete("2024/cve-2024-0002", JUNE)
    offer(upstream, provider)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("stellaops.ingest.pull.import_documents", die)
        with pytest.raises(KeyboardInterrupt):
            puller.pull(source(upstream))
    upstream.forget()
    report = ok(puller.pull(source(upstream)))
    assert (done(report).added, done(report).vanished) == (1, 1)
    assert done(report).checks is not None
    assert not [path for path in upstream.sent_paths if path.endswith("0003.json")]
    assert checked(puller.store, "cve-2024-0003")["signature"] == "verified"
    assert puller.store.keys() == [f"{HOME}2024/cve-2024-000{number}.json" for number in (1, 3)]


def test_a_rolie_feed_says_itself_where_signatures_are(
    puller: Puller, upstream: Upstream, provider: Provider
) -> None:
    offer(upstream, provider)
    upstream.files["/sig/one.sig"] = upstream.files.pop(f"/{HOME}2024/cve-2024-0001.json.asc")
    base = f"{upstream.url}{HOME}2024/"
    entries = [
        {"id": "1", "updated": MAY, "content": {"src": f"{base}cve-2024-0001.json"},
         "link": [{"rel": "self", "href": f"{base}cve-2024-0001.json"},
                  {"rel": "signature", "href": f"{upstream.url}sig/one.sig"}]},
        {"id": "2", "updated": MAY, "content": {"src": f"{base}cve-2024-0002.json"}, "link": []},
    ]  # fmt: skip
    upstream.files["/feed.json"] = json.dumps({"feed": {"entry": entries}}).encode()
    metadata = json.loads(upstream.files[f"/{METADATA}"])  # type: ignore[arg-type]
    metadata["distributions"] = [
        {"rolie": {"feeds": [{"tlp_label": "WHITE", "url": f"{upstream.url}feed.json"}]}}
    ]
    upstream.files[f"/{METADATA}"] = json.dumps(metadata).encode()
    report = done(ok(puller.pull(source(upstream))))
    assert report.checks is not None
    assert (report.added, report.checks.signatures_good, report.checks.unsigned) == (2, 1, 1)


@pytest.mark.parametrize(
    "wrong", [{"openpgp_keys": ("key.asc",)}, {"openpgp_keys": ("/key.asc",), "feed": "osv"}]
)
def test_keys_need_whole_paths_and_documents_that_are_signed(wrong: dict[str, Any]) -> None:
    told = {"feed": "csaf-vex", **wrong}
    with pytest.raises(BadDefinition):
        check_definition(Definition("demo", "csaf-provider", "https://example.com/", **told))
