"""Pulls from CSAF providers on this machine, by every way in which providers are found and list their documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stellaops.csaf import provider
from stellaops.ingest.layouts.csaf_provider import CsafProvider
from stellaops.ingest.layouts.interface import BadDefinition
from stellaops.ingest.pull_backoff import BadSchedule
from stellaops.ingest.pull_model import Definition
from tests.contract.stores import Store
from tests.support.pulling import Puller, ok
from tests.support.web import Upstream, serving

FOLDER = "/advisories/csaf/white/"
METADATA = "/.well-known/csaf/provider-metadata.json"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server


@pytest.fixture
def puller(store: Store, tmp_path: Path) -> Puller:
    return Puller(store, store.engine, tmp_path)


def document(name: str, updated: str, title: str = "An advisory", tlp: str = "CLEAR") -> bytes:
    return json.dumps(
        {
            "document": {
                "csaf_version": "2.0", "category": "csaf_security_advisory", "title": title,
                "distribution": {"tlp": {"label": tlp}},
                "publisher": {"category": "vendor", "name": "Siemens ProductCERT", "namespace": "https://www.siemens.com"},
                "tracking": {"id": name.upper(), "status": "final", "version": "1", "initial_release_date": updated,
                             "current_release_date": updated},
            },
            "vulnerabilities": [{"cve": "CVE-2024-22042"}],
        }
    ).encode()  # fmt: skip


class Provider:
    """What a provider serves: documents with hashes, and every kind of listing of them."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.documents: dict[str, tuple[str, bytes]] = {}
        self.publish("2024/ssa-543502", "2024-02-13T00:00:00Z")
        self.publish("2023/ssa-000001", "2023-05-01T00:00:00Z")

    def publish(self, name: str, updated: str, title: str = "An advisory") -> None:
        content = document(name.rpartition("/")[2], updated, title)
        self.documents[name] = (updated, content)
        self._serve(f"{FOLDER}{name}.json", content)
        self._serve(f"{FOLDER}{name}.json.sha512", hashlib.sha512(content).hexdigest().encode())

    def _serve(self, path: str, content: bytes) -> None:
        self.upstream.files = {**self.upstream.files, path: content}

    def rolie(self, path: str = f"{FOLDER}feed-tlp-white.json") -> None:
        entries = [
            {"id": name, "updated": updated, "content": {"src": self.url(f"{FOLDER}{name}.json")},
             "link": [{"rel": "self", "href": self.url(f"{FOLDER}{name}.json")},
                      {"ref": "hash", "href": self.url(f"{FOLDER}{name}.json.sha512")}]}
            for name, (updated, _) in self.documents.items()
        ]  # fmt: skip
        self._serve(path, json.dumps({"feed": {"entry": entries}}).encode())

    def changes(self) -> None:
        lines = [f'"{name}.json","{updated}"\n' for name, (updated, _) in self.documents.items()]
        self._serve(f"{FOLDER}changes.csv", "".join(lines).encode())

    def index(self, prefix: str = "") -> None:
        lines = [f"{prefix}{name}.json\n" for name in self.documents]
        self._serve(f"{FOLDER}index.txt", "".join(lines).encode())

    def metadata(self, *distributions: Mapping[str, Any], path: str = METADATA) -> None:
        told = {"publisher": {"name": "Siemens ProductCERT"}, "distributions": list(distributions)}
        self._serve(path, json.dumps(told).encode())

    def url(self, path: str) -> str:
        return f"{self.upstream.url.rstrip('/')}{path}"

    def feed(self, label: str = "WHITE", path: str = f"{FOLDER}feed-tlp-white.json") -> dict[str, Any]:
        return {"rolie": {"feeds": [{"tlp_label": label, "url": self.url(path)}]}}

    def source(self, path: str, **options: Any) -> Definition:
        return Definition("demo", "csaf-provider", self.url(path), feed="csaf", options=options, prune=True)


@pytest.fixture
def siemens(upstream: Upstream) -> Provider:
    return Provider(upstream)


@pytest.mark.parametrize(
    ("path", "listings"),
    [
        ("/", ["rolie", "metadata feed"]),
        ("/", ["changes", "metadata folder"]),
        ("/", ["index", "metadata folder"]),
        (METADATA, ["rolie", "metadata feed"]),
        (f"{FOLDER}feed-tlp-white.json", ["rolie"]),
        (f"{FOLDER}changes.csv", ["changes"]),
        (f"{FOLDER}index.txt", ["index"]),
    ],
)
def test_a_provider_is_pulled_by_whatever_it_has(
    puller: Puller, siemens: Provider, path: str, listings: list[str]
) -> None:
    for listing in listings:
        match listing.split():
            case ["metadata", "feed"]:
                siemens.metadata(siemens.feed())
            case ["metadata", "folder"]:
                siemens.metadata({"directory_url": siemens.url(FOLDER)})
            case [name]:
                getattr(siemens, name)()
    report = ok(puller.pull(siemens.source(path)))
    assert report.report is not None
    assert (report.report.added, report.report.database) == (2, "siemens")
    assert puller.store.keys() == ["SSA-000001", "SSA-543502"]


def test_a_site_says_where_its_metadata_is_by_security_txt(
    puller: Puller, siemens: Provider, upstream: Upstream
) -> None:
    siemens.rolie()
    siemens.metadata(siemens.feed(), path="/psirt/provider-metadata.json")
    # The field counts with https only, and this server has none: what it names is asked for, and refused.
    plain = f"CSAF: {siemens.url('/psirt/provider-metadata.json')}\n".encode()
    upstream.files = {**upstream.files, "/.well-known/security.txt": plain}
    report = puller.pull(siemens.source("/"))
    assert (report.state, report.error_code) == ("failed", "ERR_PULL_LISTING")
    assert "/.well-known/security.txt" in upstream.sent_paths


def test_what_did_not_change_is_not_fetched_and_what_changed_is(
    puller: Puller, siemens: Provider, upstream: Upstream
) -> None:
    siemens.changes()
    source = siemens.source(f"{FOLDER}changes.csv")
    ok(puller.pull(source))
    siemens.publish("2023/ssa-000001", "2024-03-01T00:00:00Z", "An update")
    siemens.publish("2022/ssa-000002", "2021-01-01T00:00:00Z", "New, with an old date")
    siemens.changes()
    upstream.forget()
    report = ok(puller.pull(source))
    assert report.report is not None
    assert (report.report.added, report.report.changed) == (1, 1)
    assert f"{FOLDER}2024/ssa-543502.json" not in upstream.sent_paths
    assert puller.store.keys() == ["SSA-000001", "SSA-000002", "SSA-543502"]


def test_a_change_under_the_same_instant_is_seen_within_the_overlap(
    puller: Puller, siemens: Provider, upstream: Upstream
) -> None:
    siemens.changes()
    source = siemens.source(f"{FOLDER}changes.csv")
    ok(puller.pull(source))
    siemens.publish("2024/ssa-543502", "2024-02-13T00:00:00Z", "Changed without saying so")
    report = ok(puller.pull(source))
    assert report.report is not None
    assert (report.report.read, report.report.changed) == (1, 1)


def test_a_full_pull_lets_go_of_what_the_provider_has_no_more(puller: Puller, siemens: Provider) -> None:
    siemens.rolie()
    source = siemens.source(f"{FOLDER}feed-tlp-white.json")
    ok(puller.pull(source))
    del siemens.documents["2023/ssa-000001"]
    siemens.rolie()
    report = ok(puller.pull(source, full=True))
    assert report.report is not None
    assert report.report.vanished == 1
    assert puller.store.keys() == ["SSA-543502"]


@pytest.mark.parametrize(("listing", "options"), [("rolie", {}), ("changes", {"hash": "sha512"})])
def test_a_document_that_is_not_that_of_its_hash_is_not_taken(
    puller: Puller, siemens: Provider, upstream: Upstream, listing: str, options: dict[str, str]
) -> None:
    getattr(siemens, listing)()
    wrong = {f"{FOLDER}2024/ssa-543502.json.sha512": b"ab" * 64}
    upstream.files = {**upstream.files, **wrong}
    name = "feed-tlp-white.json" if listing == "rolie" else "changes.csv"
    report = puller.pull(siemens.source(f"{FOLDER}{name}", **options))
    assert report.state == "partial"
    assert [failed.url.rpartition("/")[2] for failed in report.failed] == ["ssa-543502.json"]
    assert puller.store.keys() == ["SSA-000001"]


def test_feeds_for_a_narrower_audience_are_pulled_only_when_asked_for(
    puller: Puller, siemens: Provider, upstream: Upstream
) -> None:
    siemens.rolie("/amber/feed-tlp-amber.json")
    siemens.metadata(siemens.feed("AMBER", "/amber/feed-tlp-amber.json"))
    report = puller.pull(siemens.source("/"))
    assert (report.state, report.error_code) == ("failed", "ERR_PULL_LISTING")
    assert "AMBER" in report.error_text
    assert "/amber/feed-tlp-amber.json" not in upstream.sent_paths
    ok(puller.pull(siemens.source("/", tlp="AMBER"), at_once=True))
    assert puller.store.keys() == ["SSA-000001", "SSA-543502"]


@pytest.mark.parametrize(
    "content", [b"", b"<html></html>", b'{"feed": {"entry": []}}', b'{"feed": {"entry": [{"id"']
)
def test_a_feed_that_lists_nothing_or_is_cut_off_changes_nothing(
    puller: Puller, siemens: Provider, upstream: Upstream, content: bytes
) -> None:
    siemens.rolie()
    source = siemens.source(f"{FOLDER}feed-tlp-white.json")
    ok(puller.pull(source))
    before = puller.store.digest()
    upstream.files = {**upstream.files, f"{FOLDER}feed-tlp-white.json": content}
    report = puller.pull(source, full=True)
    assert (report.state, report.error_code) == ("failed", "ERR_PULL_LISTING")
    assert puller.store.digest() == before


@pytest.mark.parametrize("tail", [b"2024/ssa-54", b'"2024/ssa-543502.json","2024-02-1'])
def test_a_list_that_is_cut_off_in_the_middle_of_a_line_changes_nothing(
    puller: Puller, siemens: Provider, upstream: Upstream, tail: bytes
) -> None:
    siemens.changes()
    name = "changes.csv" if tail.startswith(b'"') else "index.txt"
    upstream.files = {
        **upstream.files,
        f"{FOLDER}{name}": b"2023/ssa-000001.json,2023-05-01T00:00:00Z\n" + tail,
    }
    report = puller.pull(siemens.source(f"{FOLDER}{name}"))
    assert (report.state, report.error_code) == ("failed", "ERR_PULL_LISTING")


def test_paths_counted_from_the_root_lead_to_the_documents(puller: Puller, siemens: Provider) -> None:
    siemens.index("advisories/csaf/white/")
    ok(puller.pull(siemens.source(f"{FOLDER}index.txt")))
    assert puller.store.keys() == ["SSA-000001", "SSA-543502"]


@pytest.mark.parametrize(
    "options", [{"tlp": "PURPLE"}, {"hash": "md5"}, {"overlap": "soon"}, {"nonsense": "x"}]
)
def test_options_that_mean_nothing_are_refused(options: dict[str, str]) -> None:
    definition = Definition("demo", "csaf-provider", "https://example.com/", options=options)
    with pytest.raises((BadDefinition, BadSchedule)):
        CsafProvider().check(definition)


def test_the_last_place_to_ask_is_a_name_in_dns() -> None:
    assert provider.dns_name("example.com") == "https://csaf.data.security.example.com"
