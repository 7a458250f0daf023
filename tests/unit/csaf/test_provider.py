"""The files that providers lay around their documents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.csaf import provider
from stellaops.csaf.provider import BadIndex, FeedAddress, PublicKey

BASE = "https://psirt.example.com/advisories/csaf/"
CISA = "https://raw.example.org/cisagov/CSAF/develop/csaf_files/OT/white/"


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_provider_metadata_names_feeds_directories_services_and_keys() -> None:
    found = provider.metadata(
        encoded(
            {
                "canonical_url": "https://psirt.example.com/.well-known/csaf/provider-metadata.json",
                "distributions": [
                    {"directory_url": "https://psirt.example.com/csaf/white"},
                    {"directory": {"tlp_label": "CLEAR", "url": "https://psirt.example.com/csaf/clear/"}},
                    {"rolie": {"feeds": [{"tlp_label": "WHITE", "url": f"{BASE}feed-tlp-white.json"},
                                         {"tlp_label": "AMBER", "url": f"{BASE}feed-tlp-amber.json"}, {}],
                               "services": [f"{BASE}service.json"]}},
                ],
                "last_updated": "2024-01-24T20:20:56.169Z",
                "public_openpgp_keys": [{"fingerprint": "8f5f 2679", "url": "https://keys.example.net/a.asc"}],
                "publisher": {"category": "vendor", "name": "Example", "namespace": "https://psirt.example.com"},
                "role": "csaf_trusted_provider",
            }
        )
    )  # fmt: skip
    assert found.directories == (
        "https://psirt.example.com/csaf/white/",
        "https://psirt.example.com/csaf/clear/",
    )
    assert found.feeds == (
        FeedAddress(f"{BASE}feed-tlp-white.json", "CLEAR"), FeedAddress(f"{BASE}feed-tlp-amber.json", "AMBER"),
    )  # fmt: skip
    assert found.services == (f"{BASE}service.json",)
    assert found.keys == (PublicKey("https://keys.example.net/a.asc", "8F5F2679"),)
    assert (found.role, found.namespace) == ("csaf_trusted_provider", "https://psirt.example.com")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"<html>", b'{"document": {}}', b"\xff\xfe", b"[" * 100_000]
)
@pytest.mark.parametrize("read", [provider.metadata, provider.service, provider.aggregated])
def test_what_is_not_the_index_it_was_taken_for_is_refused(read: Any, content: bytes) -> None:
    with pytest.raises(BadIndex):
        read(content)


def test_security_txt_names_provider_metadata_by_https_only() -> None:
    content = (
        b"Contact: mailto:psirt@example.com\r\nCSAF: https://a.example/provider-metadata.json\r\n"
        b"csaf:https://b.example/pmd.json\n# CSAF: https://c.example/x\nCSAF: http://d.example/x\n"
        b"CSAF: https://a.example/provider-metadata.json\n"
    )
    assert provider.announced(content) == (
        "https://a.example/provider-metadata.json", "https://b.example/pmd.json",
    )  # fmt: skip


def rolie_entry(name: str, relation: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name, "updated": "2024-10-03T16:03:00Z",
        "content": {"type": "application/json", "src": f"2024/{name}.json"},
        "link": [{"rel": "self", "href": f"2024/{name}.json"}, {relation: "hash", "href": f"2024/{name}.json.sha512"},
                 {relation: "hash", "href": f"{BASE}2024/{name}.json.sha256?v=1"},
                 {relation: "signature", "href": f"2024/{name}.json.asc"}],
    } | more  # fmt: skip


@pytest.mark.parametrize("relation", ["rel", "ref"])
def test_a_rolie_feed_gives_addresses_hashes_and_signatures_also_with_ref_for_rel(relation: str) -> None:
    feed = {
        "feed": {
            "entry": [rolie_entry("va-24-254-02", relation)],
            "link": [{"rel": "next", "href": "page2.json"}],
        }
    }
    found = provider.rolie(encoded(feed), f"{BASE}feed.json")
    (entry,) = found.entries
    assert entry.url == f"{BASE}2024/va-24-254-02.json"
    assert entry.updated == "2024-10-03T16:03:00Z"
    assert entry.hashes == {
        "sha512": f"{BASE}2024/va-24-254-02.json.sha512", "sha256": f"{BASE}2024/va-24-254-02.json.sha256?v=1",
    }  # fmt: skip
    assert entry.signature == f"{BASE}2024/va-24-254-02.json.asc"
    assert entry.stated
    assert found.next_page == f"{BASE}page2.json"


def test_an_entry_without_an_address_is_refused_and_stops_nothing() -> None:
    feed = {"feed": {"entry": [{"id": "lost"}, rolie_entry("a", "rel"), "x", None]}}
    found = provider.rolie(encoded(feed), BASE)
    assert [entry.url for entry in found.entries] == [f"{BASE}2024/a.json"]
    assert found.refused == ("lost",)


def test_changes_come_newest_first_whatever_their_order_quoting_and_offsets() -> None:
    content = (
        b'"2024/b.json","2024-05-01T00:00:00+02:00"\r\n2024/a.json,2024-10-24T06:00:00.000000Z\n'
        b"2024/c.json,2024-04-30T22:30:00Z\n2024/a.json,2020-01-01T00:00:00Z\n\n2024/d.json\n"
    )
    found = provider.changes(content, f"{BASE}changes.csv")
    assert [entry.url.rpartition("/")[2] for entry in found.entries] == [
        "a.json",
        "c.json",
        "b.json",
        "d.json",
    ]
    assert found.entries[0].updated == "2024-10-24T06:00:00.000000Z"
    assert found.entries[0].signature == f"{BASE}2024/a.json.asc"
    assert not found.entries[0].stated


@pytest.mark.parametrize(
    ("line", "url", "place"),
    [
        ("2024/a.json", f"{BASE}index.txt", f"{BASE}2024/a.json"),
        ("./2024/a.json", f"{BASE}index.txt", f"{BASE}2024/a.json"),
        (
            "csaf_files/OT/white/2017/icsa-17-061-03.json",
            f"{CISA}index.txt",
            f"{CISA}2017/icsa-17-061-03.json",
        ),
        ("white/2017/a.json", f"{CISA}index.txt", f"{CISA}white/2017/a.json"),
        ("2024/a b.json", f"{BASE}index.txt", f"{BASE}2024/a%20b.json"),
    ],
)
def test_index_lines_are_counted_from_the_listing_or_from_the_root(line: str, url: str, place: str) -> None:
    found = provider.index(f"# index\n\n{line}\n".encode(), url)
    assert [entry.url for entry in found.entries] == [place]
    assert found.entries[0].hashes["sha512"] == f"{place}.sha512"


@pytest.mark.parametrize(
    "line",
    [
        "/etc/passwd.json",
        "../../a.json",
        "a/../../b.json",
        "https://evil.example/a.json",
        "a\\b.json",
        "a//b.json",
    ],
)
def test_lines_that_lead_out_are_refused(line: str) -> None:
    found = provider.index(f"{line}\n2024/a.json".encode(), f"{BASE}index.txt")
    assert [entry.url for entry in found.entries] == [f"{BASE}2024/a.json"]
    assert found.refused == (line,)


def test_a_service_document_and_an_aggregator_name_where_to_look() -> None:
    service = {
        "service": {
            "workspace": [{"collection": [{"href": f"{BASE}feed.json"}, {}, {"href": f"{BASE}feed.json"}]}]
        }
    }
    assert provider.service(encoded(service)) == (f"{BASE}feed.json",)
    aggregator = {
        "csaf_providers": [
            {
                "metadata": {"url": "https://a.example/pmd.json"},
                "mirrors": ["https://agg.example/a/pmd.json"],
            },
            {"metadata": {"url": "https://b.example/pmd.json"}},
        ]
    }
    assert provider.aggregated(encoded(aggregator)) == (
        "https://agg.example/a/pmd.json", "https://b.example/pmd.json",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "algorithm", "stated"),
    [
        (b"ab" * 32 + b"  a.json\n", "sha256", "ab" * 32),
        (b"AB" * 64 + b"  icsa-24-046-06.json", "sha512", "ab" * 64),
        (b"ab" * 64, "sha512", "ab" * 64),
        (b"ab" * 32, "sha512", None),
        (b"", "sha256", None),
        (b"404 Not Found", "sha256", None),
        (b"\xff\x00", "sha256", None),
    ],
)
def test_hash_files_state_a_hash_or_nothing(content: bytes, algorithm: str, stated: str | None) -> None:
    assert provider.stated_hash(content, algorithm) == stated


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("csaf_files/OT/white/cisa-csaf-ot-feed-tlp-white.json", True),
        ("white/csaf-feed-tlp-white.json", True),
        ("feed-tlp-amber+strict.json", True),
        ("provider-metadata.json", True),
        ("x/service.json", True),
        ("x/category-vendor.json", True),
        ("aggregator.json", True),
        ("2024/icsa-24-046-06.json", False),
        ("2024/categories.json", False),
        ("csaf/2024/rhsa-2024_0001.json", False),
    ],
)
def test_indexes_are_told_from_documents_by_their_names(path: str, told: bool) -> None:
    assert provider.is_index(path) is told


DELETED = "2024-10-29T12:00:00+00:00"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (f'"2024/a.json","{DELETED}"\n', {"vex/2024/a.json": DELETED}),
        (f"2024/a.json,{DELETED}\r\n2023/b.json,{DELETED}", {"vex/2024/a.json": DELETED, "vex/2023/b.json": DELETED}),
        (f'"2024/a.json","2020-01-01T00:00:00Z"\n"2024/a.json","{DELETED}"\n', {"vex/2024/a.json": DELETED}),
        (f'"2024/a.json","{DELETED}"\n"2024/a.json","2020-01-01T00:00:00Z"\n', {"vex/2024/a.json": DELETED}),
        ("2024/a.json\n2023/b.json\n", {"vex/2024/a.json": "", "vex/2023/b.json": ""}),
        (f'"2024/a.json","{DELETED}"\n"2023/b.json","2024-1', {"vex/2024/a.json": DELETED}),
        (f'"2024/a.json","{DELETED}"\n"2023/b.json', {"vex/2024/a.json": DELETED}),
        (f'"../a.json","{DELETED}"\n"/b.json","{DELETED}"\n', {}),
        ("<html><body>no such file</body></html>", {}),
        ("", {}),
        ("\ufeff2024/a.json\n", {"vex/2024/a.json": ""}),
    ],
)  # fmt: skip
def test_a_list_of_deletions_names_documents_and_when(lines: str, expected: dict[str, str]) -> None:
    assert provider.deleted_in(lines.encode(), "vex") == expected
    told = provider.deletions(lines.encode(), "https://example.com/vex/deletions.csv")
    assert told == {f"https://example.com/{path}": instant for path, instant in expected.items()}


@pytest.mark.parametrize(
    ("changed", "deleted"),
    [
        ((), True),
        (("",), True),
        (("2024-10-29T12:00:00Z",), True),  # the same instant: the deletion is what was said last
        (("2024-10-29T12:00:01Z",), False),
        (("2024-10-29T14:30:00+02:00",), False),
        (("2023-01-01T00:00:00Z", "2025-01-01T00:00:00Z"), False),
        (("some day",), True),
    ],
)
def test_a_document_is_back_when_anything_says_that_it_was_changed_since(
    changed: tuple[str, ...], deleted: bool
) -> None:
    assert provider.is_deleted(DELETED, *changed) is deleted
    assert provider.is_deleted("", *changed)  # nothing is after a deletion that has no date
