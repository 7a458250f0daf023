"""Artefact lists: what each record becomes, and where it stands in its file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.advisories import advisory as fields
from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, Artefact
from stellaops.advisories.canonical import Malformed
from stellaops.advisories.documents.maven_index import MavenIndexFeed, head_of_list
from stellaops.advisories.packages import purls
from stellaops.bundles.trivy.projection import Projection, project

FEED = MavenIndexFeed()
SHA1 = "0123456789abcdef0123456789ABCDEF01234567"


def read(path: str, content: str) -> list[Advisory]:
    raw = content.encode()
    found = []
    for piece in FEED.records(path, raw):
        assert raw[piece.offset : piece.offset + len(piece.raw)] == piece.raw
        told = FEED.read(FEED.canonical(path, piece.raw).parsed, piece.context)
        if told is not None:
            found.append(told)
    return found


def test_a_row_becomes_an_artefact_that_selectors_find_by_its_package() -> None:
    (told,) = read("a.csv", f"groupId,artifactId,version,packaging,sha1\norg.a,b,1.0,bundle,{SHA1}\n")
    assert told.artefact == Artefact("org.a", "b", "1.0", "jar", SHA1.lower())
    assert told.id == f"org.a:b:1.0:jar:{SHA1.lower()}"
    assert purls(told) == ["pkg:maven/org.a/b"]
    assert fields.ecosystems(told) == ["Maven"]


def test_an_artefact_is_no_vulnerability() -> None:
    (told,) = read("a.csv", f"g,a,v,sha1\norg.a,b,1.0,{SHA1}\n")
    database = databases.get("maven-index")
    assert database is not None
    assert project(told, database, fields.assess(told)) == Projection(artefacts=(told.artefact,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stated", "modified"),
    [
        ("1616161616000", "2021-03-19T13:46:56Z"), ("2021-03-19T13:46:56Z", "2021-03-19T13:46:56Z"),
        ("", None), ("9" * 30, None),
    ],
)  # fmt: skip
def test_a_list_may_state_when_a_file_was_last_changed(stated: str, modified: str | None) -> None:
    (told,) = read("a.csv", f"g,a,v,sha1,lastModified\norg.a,b,1.0,{SHA1},{stated}\n")
    assert told.modified == modified


def test_milliseconds_may_be_a_number() -> None:
    line = {"g": "org.a", "a": "b", "v": "1", "sha1": SHA1, "timestamp": 1616161616000}
    (told,) = read("a.jsonl", json.dumps(line))
    assert told.modified == "2021-03-19T13:46:56Z"


def component(purl: str, **more: Any) -> dict[str, Any]:
    return {"purl": purl, "hashes": [{"alg": "SHA-1", "content": SHA1}], **more}


def bom(components: list[Any], **before: Any) -> str:
    return json.dumps({**before, "bomFormat": "CycloneDX", "components": components}, indent=1)


def test_every_component_is_an_exact_slice_where_equal_texts_stand_before_it() -> None:
    inner = component("pkg:maven/org.a/inner@1")
    outer = component("pkg:maven/org.a/outer@1", components=[inner, inner], note={"components": [inner]})
    text = bom([outer, inner, 7, {}], metadata={"tools": {"components": [inner]}, "note": json.dumps(inner)})
    raw = text.encode()
    pieces = list(FEED.records("a.json", raw))
    assert [json.loads(piece.raw) for piece in pieces] == [outer, inner, inner, inner, 7, {}]
    offsets = [piece.offset for piece in pieces]
    assert offsets == sorted(set(offsets))
    assert offsets[0] > raw.index(b'"bomFormat"')


def test_components_nested_without_end_are_refused() -> None:
    nested = component("pkg:maven/org.a/b@1")
    for _ in range(12):
        nested = component("pkg:maven/org.a/b@1", components=[nested])
    with pytest.raises(Malformed, match="too-deep"):
        list(FEED.records("a.json", bom([nested]).encode()))


@pytest.mark.parametrize(
    ("path", "head", "expected"),
    [
        ("a.csv", "groupId,artifactId,version,sha1\norg.a", b"groupId,artifactId,version,sha1\n"),
        ("a.csv", "\ufeff\n G , A , V , SHA1 \r\nx", "\ufeff\n G , A , V , SHA1 \r\n".encode()),
        ("a.csv", "cve,epss,percentile\n", None),
        ("a.jsonl", json.dumps({"g": "x", "a": "y", "v": "1", "sha1": SHA1}) + "\n{", b""),
        ("a.jsonl", '{"id": "GHSA-1"}\n', None),
        ("a.json", "groupId,artifactId,version,sha1\n", None),
        ("a.csv", "", None),
    ],
)
def test_a_list_tells_what_must_stand_before_each_of_its_parts(
    path: str, head: str, expected: bytes | None
) -> None:
    assert head_of_list(path, head.encode()) == expected
