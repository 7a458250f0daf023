"""The secdb feed: how files are cut, whose they are, and what a cell of ids means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, ecosystems, parts
from stellaops.advisories.canonical import Malformed
from stellaops.advisories.documents.alpine_secdb import AlpineSecdbFeed
from stellaops.advisories.documents.interface import Listing
from tests.contract.feed_samples import alpine_secdb, alpine_secdb__wolfi

FEED = AlpineSecdbFeed()
YAML = alpine_secdb.MAIN.encode()


def package(secfixes: Any, context: str = "v3.11/main") -> Advisory:
    found = FEED.read({"pkg": {"name": "xen", "secfixes": secfixes}}, context)
    assert found is not None
    return found


def fixes(secfixes: Any) -> dict[tuple[str, ...], list[str | None]]:
    return {
        (part.id, *(part.aliases or ())): [
            event.fixed
            for affected in part.affected or ()
            for span in affected.ranges or ()
            for event in span.events or ()
            if event.fixed
        ]
        for part in package(secfixes).parts or ()
    }


@pytest.mark.parametrize(
    ("cell", "ids"),
    [
        ("CVE-2019-5481", ("CVE-2019-5481",)),
        ("  CVE-2017-11610  ", ("CVE-2017-11610",)),
        ("CVE-2017-14450 TALOS-2017-0499", ("CVE-2017-14450", "TALOS-2017-0499")),
        ("XSA-273 CVE-2018-3620 CVE-2018-3646", ("CVE-2018-3620", "CVE-2018-3646", "XSA-273")),
        ("GHSA-4374-p667-p6c8 CVE-2023-39325", ("CVE-2023-39325", "GHSA-4374-p667-p6c8")),
        ("CVE-2017-5753 XSA-254 XPTI", ("CVE-2017-5753", "XSA-254")),
        ("CVE-2017-2616 (+ regression fix)", ("CVE-2017-2616",)),
        ("CVE-2018-14466 (AFS/RX, see CVE-2018-1)", ("CVE-2018-14466",)),
        ("CVE-????-?????  XSA-295", ("XSA-295",)),
        ("wnpa-sec-2017-18", ("wnpa-sec-2017-18",)),
        ("ZBX-11023", ("ZBX-11023",)),
        # The separator leaves no doubt; anything else that is wrong makes no CVE.
        ("CVE_2019-2426", ("CVE-2019-2426",)),
        ("CVE 2018-16859", ("CVE-2018-16859",)),
        ("CVE-2017-17434-1", ("CVE-2017-17434-1",)),
        ("CVE-2019-19451.patch", ("CVE-2019-19451.patch",)),
    ],
)
def test_a_cell_names_what_it_fixes_cves_first(cell: str, ids: tuple[str, ...]) -> None:
    assert fixes({"1.0-r0": [cell]}) == {ids: ["1.0-r0"]}


@pytest.mark.parametrize("cell", ["", "CVE-????-?????", "(none)", "security fixes", "CVE", "-", None])
def test_a_cell_that_names_nothing_says_nothing(cell: str | None) -> None:
    assert fixes({"1.0-r0": [cell]}) == {}


def test_version_0_says_that_the_package_never_had_the_flaw() -> None:
    assert fixes({"0": ["CVE-2019-15601"], "1.0-r0": ["CVE-2019-5481"]}) == {("CVE-2019-5481",): ["1.0-r0"]}


def test_one_id_under_two_versions_keeps_both() -> None:
    both = {"4.91-r0": ["CVE-2018-6789"], "4.90.1-r0": ["CVE-2018-6789"]}
    assert fixes(both) == {("CVE-2018-6789",): ["4.90.1-r0", "4.91-r0"]}


@pytest.mark.parametrize("secfixes", [None, {}, [], {"1.0-r0": None}, {"1.0-r0": []}])
def test_a_package_without_fixes_is_a_document_all_the_same(secfixes: Any) -> None:
    assert package(secfixes).id == "v3.11/main/xen"
    assert fixes(secfixes) == {}


@pytest.mark.parametrize(
    ("context", "ecosystem"),
    [("v3.11/main", "Alpine:v3.11"), ("edge/community", "Alpine:edge"), ("wolfi/os", "Wolfi"),
     ("chainguard/chainguard", "Chainguard"), ("minimos/os", "MinimOS")],
)  # fmt: skip
def test_the_context_says_whose_package_it_is(context: str, ecosystem: str) -> None:
    assert ecosystems(package({"1.0-r0": ["CVE-2019-5481"]}, context)) == [ecosystem]


def test_yaml_is_cut_into_whole_lines_that_are_one_content_with_the_same_in_json() -> None:
    parsed = [FEED.canonical("a.yaml", piece.raw) for piece in FEED.records("a.yaml", YAML)]
    assert [each.parsed["pkg"]["name"] for each in parsed] == [
        "curl", "openjdk8", "rsync", "tcpdump", "util-linux", "xen",
    ]  # fmt: skip
    for each in parsed:
        assert FEED.canonical("a.json", json.dumps(each.parsed, indent=3).encode()).body == each.body
    (last,) = list(FEED.records("a.yaml", YAML))[-1:]
    assert last.raw.startswith(b"  - pkg:\n      name: xen\n")
    assert last.raw.endswith(b"- XSA-248")


@pytest.mark.parametrize(
    "items",
    [
        "  - pkg:\n      name: é\n    more: x\n  - pkg: {name: b}\n",
        "- pkg:\n    name: é\n\n# a word on b\n- pkg:\n    name: b\n",
        "  -\n    pkg:\n      name: é\n  -\n    pkg: {name: b}\n",
        "  [{pkg: {name: é}}, {pkg: {name: b}}]\n",
        "  - {pkg: {name: é}}\n  - pkg:\n      name: b\n      secfixes:\n        1.10:\n        - CVE-2019-5481\n",
    ],
)
@pytest.mark.parametrize("after", ["", "arch: [x86_64]\n", "...\n"])
def test_every_way_to_write_the_list_is_cut_into_its_items(items: str, after: str) -> None:
    content = f"# Größe\ndistroversion: v3.11\nreponame: main\npackages:\n{items}{after}".encode()
    pieces = list(FEED.records("a.yaml", content))
    for piece in pieces:
        assert content[piece.offset : piece.offset + len(piece.raw)] == piece.raw
    read = [FEED.read(FEED.canonical("a.yaml", piece.raw).parsed, piece.context) for piece in pieces]
    assert [each.id for each in read if each] == ["v3.11/main/é", "v3.11/main/b"]


def test_a_version_stays_the_text_that_it_is() -> None:
    content = b"distroversion: v3.11\nreponame: main\npackages:\n- pkg: {name: a, secfixes: {1.10: [CVE-2019-5481]}}\n"
    (piece,) = FEED.records("a.yaml", content)
    assert (
        FEED.canonical("a.yaml", piece.raw).body
        == b'{"pkg":{"name":"a","secfixes":{"1.10":["CVE-2019-5481"]}}}'
    )


def test_a_file_is_complete_for_its_repository_and_for_no_other() -> None:
    assert FEED.listing("v3.11/main.yaml", YAML) == Listing("", "v3.11/main/")
    wolfi = json.dumps(alpine_secdb__wolfi.SECURITY).encode()
    assert FEED.listing("security.json", wolfi) == Listing("", "wolfi/os/")
    assert FEED.listing("v3.11/main.yaml", YAML[:200]) is None
    assert FEED.listing("README.md", YAML) is None


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"distroversion": "stream"}, "no-release"),
        ({"distroversion": "v3.11", "reponame": "a/b"}, "no-release"),
        ({"reponame": "os", "urlprefix": "https://example.com"}, "no-release"),
        ({"distroversion": "v3.11", "reponame": "main", "packages": "all"}, "schema"),
    ],
)
def test_a_file_of_a_distribution_that_is_not_known_is_refused(header: dict[str, Any], reason: str) -> None:
    content = json.dumps({"packages": [], **header}).encode()
    assert not FEED.recognises("a.json", content)
    with pytest.raises(Malformed) as refused:
        list(FEED.records("a.json", content))
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("ecosystem", "name"),
    [("Alpine:v3.11", "alpine"), ("Wolfi", "wolfi"), ("Chainguard", "chainguard"), ("MinimOS", "minimos")],
)
def test_the_database_is_told_from_the_distribution_in_this_form_alone(ecosystem: str, name: str) -> None:
    told = [("x/y/z", [ecosystem])]
    assert databases.tell(told, FEED.name).name == name
    # In OSV documents others call themselves Alpine too.
    assert databases.tell([("CVE-2024-1", ["Alpine:v3.20"])]).name == "osv"


def test_parts_are_in_one_order_whatever_the_writers() -> None:
    one = {"2.0-r0": ["CVE-2019-2"], "1.0-r0": ["CVE-2019-1", "CVE-2019-3"]}
    other = dict(reversed(one.items()))
    assert package(one) == package(other)
    assert len(parts(package(one))) == 3
