"""The OSV feed: which files hold documents, and how records are cut out of them."""

from __future__ import annotations

import pytest

from stellaops.advisories.canonical import Malformed
from stellaops.advisories.documents.osv import OsvFeed
from stellaops.advisories.documents.registry import FEEDS

FEED = OsvFeed()


def cut(path: str, content: bytes) -> list[tuple[int, bytes]]:
    return [(piece.offset, piece.raw) for piece in FEED.records(path, content)]


def test_every_feed_is_registered_under_its_name() -> None:
    assert all(feed.name == name for name, feed in FEEDS.items())
    assert isinstance(FEEDS["osv"], OsvFeed)


@pytest.mark.parametrize(
    "path",
    [
        "a.json",
        "x/GHSA-1.JSON",
        "v/PYSEC-1.yaml",
        "a.yml",
        "all.jsonl",
        "all.ndjson",
        "x/ALSA-2024:8127.json",
    ],
)
def test_json_and_yaml_files_may_hold_documents(path: str) -> None:
    assert FEED.may_hold_documents(path)


@pytest.mark.parametrize(
    "path",
    ["LICENSE", "README.md", "a.json.asc", "a.json.sha512", "index.json", "x/package.json", ".hidden.json", "x/.a.yaml",
     "json", "a.txt", "a.json/", ""],
)  # fmt: skip
def test_licences_indexes_signatures_and_hidden_files_hold_none(path: str) -> None:
    assert not FEED.may_hold_documents(path)


@pytest.mark.parametrize("path", ["a.json", "a.yaml"])
def test_one_document_is_the_whole_file_with_its_blanks(path: str) -> None:
    assert cut(path, b' {"id": "A"}\n') == [(0, b' {"id": "A"}\n')]


@pytest.mark.parametrize(
    ("content", "pieces"),
    [
        (b"[]", []),
        (b' [\n{"id":"A"} , {"id": "B"}]\r\n', [(3, b'{"id":"A"}'), (16, b'{"id": "B"}')]),
        (b'\xef\xbb\xbf[{"id":"A"}]', [(4, b'{"id":"A"}')]),
        (b'[{"a":"\\ud800"},{"b":"\xc3\xa9"}]', [(1, b'{"a":"\\ud800"}'), (16, b'{"b":"\xc3\xa9"}')]),
        (b"[NaN, 1]", [(1, b"NaN"), (6, b"1")]),
        (b'["x", "x", "xx"]', [(1, b'"x"'), (6, b'"x"'), (11, b'"xx"')]),
        (b"[" + b"9" * 5000 + b', "\\udfff"]', [(1, b"9" * 5000), (5003, b'"\\udfff"')]),
    ],
)
def test_the_elements_of_an_array_are_records_with_their_places(
    content: bytes, pieces: list[tuple[int, bytes]]
) -> None:
    assert cut("all-of-them.json", content) == pieces
    for offset, raw in pieces:
        assert content[offset : offset + len(raw)] == raw


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[", "not-json"),
        (b'[{"id": "A"},]', "not-json"),
        (b'[{"id": "A"}] x', "not-json"),
        (b'[{"id": "A"}} ', "not-json"),
        (b"[1 2]", "not-json"),
        (b'["\\ud800", "\xff"]', "not-utf-8"),
        (b"[" + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]", "too-deep"),
    ],
)
def test_an_array_that_cannot_be_cut_is_malformed_as_a_whole(content: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        cut("a.json", content)
    assert caught.value.reason == reason


def test_lines_are_records_without_the_blanks_around_them() -> None:
    content = b'{"id":"A"}\n\n \t\r\n  {"id":"B"} \r\n{"id":"C"}'
    assert cut("a.jsonl", content) == [(0, b'{"id":"A"}'), (18, b'{"id":"B"}'), (31, b'{"id":"C"}')]
    assert cut("a.ndjson", b"") == []


@pytest.mark.parametrize(
    "content", [b"[]", b"7", b'"text"', b"null", b'{"name": "settings"}', b"{}", b"- a\n- b\n"]
)
def test_what_has_nothing_of_an_advisory_is_no_document_and_no_error(content: bytes) -> None:
    path = "a.yaml" if content.startswith(b"-") else "a.json"
    assert FEED.read(FEED.canonical(path, content).parsed) is None


def test_null_stands_for_absent_everywhere() -> None:
    fields = ("aliases", "upstream", "published", "modified", "withdrawn", "summary", "severity", "affected",
              "references", "database_specific")  # fmt: skip
    content = '{"id": "X-1", ' + ", ".join(f'"{field}": null' for field in fields) + "}"
    found = FEED.read(FEED.canonical("a.json", content.encode()).parsed)
    assert found is not None
    assert all(getattr(found, field) is None for field in fields)


@pytest.mark.parametrize(
    ("withdrawn", "told"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", None),
        ("soon", "soon"),
        (None, None),
    ],
)
def test_a_withdrawal_that_a_generator_left_unset_is_none(withdrawn: str | None, told: str | None) -> None:
    read = FEED.read({"id": "GO-2024-0001", "withdrawn": withdrawn})
    assert read is not None
    assert read.withdrawn == told
