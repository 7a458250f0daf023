"""Debian's feeds: the tracker's JSON and its text lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, Specific, affected_packages
from stellaops.advisories.canonical import Malformed
from stellaops.advisories.debian import GENERAL, RELEASES
from stellaops.advisories.documents.debian_dsa import DebianListsFeed
from stellaops.advisories.documents.debian_tracker import DebianTrackerFeed
from stellaops.advisories.documents.interface import Listing
from tests.contract.feed_samples import debian_dsa, debian_tracker
from tests.contract.feed_samples.debian_tracker import release

TRACKER = DebianTrackerFeed()
LISTS = DebianListsFeed()

Said = tuple[str, str, str | None, str | None, bool]


def said(advisory: Advisory) -> dict[str, tuple[str | None, str | None, bool]]:
    """By release and package: the fix, the status where there is none, and whether it is weak."""
    found = {}
    for affected in affected_packages(advisory):
        package, specific = affected.package, affected.ecosystem_specific
        assert package is not None
        assert isinstance(specific, Specific)
        assert affected.ranges is not None
        (span,) = affected.ranges
        fixed = next((event.fixed for event in span.events or () if event.fixed), None)
        release_name = (package.ecosystem or "").removeprefix("Debian:")
        status = None if fixed else specific.status
        found[f"{release_name} {package.name}"] = (fixed, status, specific.weak is True)
    return found


# ---- the tracker's JSON


def tracked(releases: dict[str, Any]) -> dict[str, tuple[str | None, str | None, bool]]:
    advisory = TRACKER.read({"releases": releases}, "curl/CVE-2023-38545")
    assert advisory is not None
    return said(advisory)


def test_a_record_is_a_vulnerability_of_a_package_and_keeps_the_cve_as_its_part() -> None:
    advisory = TRACKER.read({"releases": {}, "description": "SOCKS5"}, "curl/CVE-2023-38545")
    assert advisory == Advisory(
        "curl/CVE-2023-38545", parts=[Advisory("CVE-2023-38545", details="SOCKS5", affected=[])]
    )


@pytest.mark.parametrize(
    ("said_of_it", "expected"),
    [
        (release("resolved", "7.74.0-2", "7.74.0-1"), ("7.74.0-1", None, False)),
        (release("resolved", "7.74.0-2", "0"), None),
        (release("resolved", "7.74.0-2"), None),
        (release("undetermined", "7.74.0-2"), None),
        (release("open", ""), None),
        (release("resolved", "", "7.74.0-1"), None),
        (release("open", "7.74.0-2"), (None, "affected", False)),
        (release("open", "7.74.0-2", "7.74.0-1"), (None, "affected", False)),
        (release("open", "7.74.0-2", nodsa="Minor", nodsa_reason=""), (None, "affected", False)),
        (release("open", "7.74.0-2", nodsa="Minor", nodsa_reason="ignored"), (None, "will_not_fix", False)),
        (release("open", "7.74.0-2", nodsa="Minor", nodsa_reason="postponed"), (None, "fix_deferred", False)),
        (release("open", "7.74.0-2", urgency="end-of-life"), (None, "end_of_life", False)),
        (release("something new", "7.74.0-2"), (None, "affected", False)),
    ],
)
def test_what_the_tracker_says_of_a_release(
    said_of_it: dict[str, Any], expected: tuple[str | None, str | None, bool] | None
) -> None:
    assert tracked({"bullseye": said_of_it}).get("11 curl") == expected


def test_the_fix_of_unstable_counts_where_a_release_is_fixed_by_it() -> None:
    fixed_in_sid = release("resolved", "8.3.0-3", "8.3.0-1", repository="sid")
    assert tracked({"trixie": release("resolved", "8.3.0-3"), "sid": fixed_in_sid}) == {
        "13 curl": ("8.3.0-1", None, False)
    }


def test_what_the_release_has_travels_along_without_what_is_only_proposed() -> None:
    waiting = release(
        "resolved",
        "1-1",
        "1-2",
        repositories={"bullseye-proposed-updates": "1-2", "bullseye-security": "1-1+u"},
    )
    advisory = TRACKER.read({"releases": {"bullseye": waiting}}, "curl/CVE-2023-38545")
    assert advisory is not None
    (affected,) = affected_packages(advisory)
    assert isinstance(affected.ecosystem_specific, Specific)
    assert affected.ecosystem_specific.archive == ["1-1", "1-1+u"]


def test_each_record_is_cut_out_with_the_name_of_its_package_and_vulnerability() -> None:
    content = json.dumps(debian_tracker.DATA, indent=2, ensure_ascii=False).encode()
    pieces = list(TRACKER.records("json", content))
    assert sorted(piece.context for piece in pieces) == list(debian_tracker.EXPECTED_KEYS)
    for piece in pieces:
        package, _, name = piece.context.rpartition("/")
        assert json.loads(piece.raw) == debian_tracker.DATA[package][name]
        assert content[piece.offset : piece.offset + len(piece.raw)] == piece.raw


def test_the_file_lists_all_that_the_tracker_knows() -> None:
    content = json.dumps(debian_tracker.DATA).encode()
    assert TRACKER.listing("tracker.json", content) == Listing("")
    assert TRACKER.listing("tracker.json", b"{}") is None
    assert TRACKER.listing("tracker.txt", content) is None


@pytest.mark.parametrize(
    "context", ["", "curl", "/CVE-2023-1", "curl/", "cu\x00rl/CVE-2023-1", "x" * 300 + "/CVE-2023-1"]
)
def test_a_record_without_package_and_vulnerability_is_refused(context: str) -> None:
    with pytest.raises(Malformed, match="no-id"):
        TRACKER.read({"releases": {}}, context)


def test_a_name_that_cannot_be_a_key_does_not_travel_beside_the_record() -> None:
    (piece,) = TRACKER.records("json", b'{"\\ud800": {"CVE-2023-1": {"releases": {}}}}')
    assert piece.context == ""


# ---- the text lists


def entry(text: str) -> Advisory | None:
    (piece,) = LISTS.records("list", text.encode())
    return LISTS.read(LISTS.canonical("list", piece.raw).parsed, piece.context)


def listed(text: str) -> dict[str, tuple[str | None, str | None, bool]]:
    advisory = entry(text)
    assert advisory is not None
    return said(advisory)


def test_the_canonical_form_is_the_first_line_and_the_others_without_indentation() -> None:
    text = b"[29 Mar 2023] DSA-5380-1 xorg-server - security update \r\n\t{CVE-2023-1393}\r\n  [bullseye] - x  1\n\n"
    (piece,) = LISTS.records("list", text)
    assert LISTS.canonical("list", piece.raw).body == (
        b'{"header":"[29 Mar 2023] DSA-5380-1 xorg-server - security update",'
        b'"lines":["{CVE-2023-1393}","[bullseye] - x  1"]}'
    )


def test_an_advisory_says_what_it_fixes_in_which_release_and_when() -> None:
    advisory = entry(
        "[29 Mar 2023] DSA-5380-1 x - security update\n\t{CVE-2023-1393 CVE-2023-1394}\n\t[bullseye] - x 1:2-3\n"
    )
    assert advisory is not None
    assert (advisory.id, advisory.upstream, advisory.summary, advisory.published) == (
        "DSA-5380-1", ["CVE-2023-1393", "CVE-2023-1394"], "x - security update", "2023-03-29T00:00:00Z",
    )  # fmt: skip
    assert said(advisory) == {"11 x": ("1:2-3", None, False)}


@pytest.mark.parametrize(
    ("day", "instant"),
    [("1 Apr 2023", "2023-04-01T00:00:00Z"), ("August 26th, 2005", "2005-08-26T00:00:00Z"),
     ("September 1st, 2005", "2005-09-01T00:00:00Z"), ("31 Feb 2023", None), ("yesterday", None)],
)  # fmt: skip
def test_days_are_written_in_two_ways(day: str, instant: str | None) -> None:
    advisory = entry(f"[{day}] DTSA-1-1 kismet - various\n\t[etch] - kismet 1-1\n")
    assert advisory is not None
    assert advisory.published == instant


def test_what_is_said_of_unstable_counts_weakly_where_a_release_has_no_line_of_its_own() -> None:
    found = listed(
        "CVE-2023-1393 (A)\n\t- x 2-1 (bug #1)\n\t[bullseye] - x 1-1+deb11u1\n\t[buster] - x <not-affected> (New)\n"
    )
    assert found["11 x"] == ("1-1+deb11u1", None, False)
    assert "10 x" not in found
    general = {f"{RELEASES[name]} x" for name in GENERAL} - {"11 x", "10 x"}
    assert {place: found[place] for place in general} == dict.fromkeys(general, ("2-1", None, True))
    assert found.keys() == general | {"11 x"}


@pytest.mark.parametrize(
    ("word", "status"),
    [("no-dsa", "affected"), ("unfixed", "affected"), ("ignored", "will_not_fix"), ("postponed", "fix_deferred"),
     ("end-of-life", "end_of_life"), ("brand-new-word", "affected")],
)  # fmt: skip
def test_a_release_without_a_fix_gives_way_to_an_advisory_that_brings_one(word: str, status: str) -> None:
    assert listed(f"CVE-2023-1393 (A)\n\t[bullseye] - x <{word}> (Minor issue)\n") == {
        "11 x": (None, status, True)
    }


@pytest.mark.parametrize("word", ["<not-affected>", "<undetermined>", "<itp>", "0"])
def test_where_nothing_is_known_or_nothing_is_wrong_nothing_is_said(word: str) -> None:
    assert listed(f"CVE-2023-1393 (A)\n\t- x {word} (a reason)\n\t[bullseye] - x {word}\n") == {}


def test_a_package_that_left_unstable_is_vulnerable_where_it_still_is() -> None:
    found = listed("CVE-2023-1393 (A)\n\t- x <removed>\n\t[buster] - x <removed>\n")
    assert found["11 x"] == (None, "affected", True)
    assert "10 x" not in found


@pytest.mark.parametrize(
    "text",
    ["CVE-2023-1393\n\tRESERVED\n", "CVE-2023-1393 (A)\n\tNOT-FOR-US: y\n", "CVE-2023-1393\n\tREJECTED\n\t- x 1-1\n",
     "[18 Apr 2018] DSA-4205-1 jessie end-of-life\n", "CVE-2023-1393 (A)\n\tTODO: check\n"],
)  # fmt: skip
def test_an_entry_that_says_nothing_of_a_package_is_no_advisory(text: str) -> None:
    assert entry(text) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "[Privilege escalation possible to other user than root]\n\t- bash <unfixed> (bug #841856)",
            "TEMP-0841856-B18BAF",
        ),
        (
            "[tar's rmt command may have undesired side effects]\n\t- tar <unfixed> (low; bug #290435)",
            "TEMP-0290435-0B57B5",
        ),
        ("[more related to CVE-2005-4890]\n\t- shadow <unfixed> (bug #628843)", "TEMP-0628843-DBAD28"),
    ],
)
def test_what_has_no_cve_yet_has_the_trackers_own_name(text: str, name: str) -> None:
    """The names are the ones that stand in the tracker itself."""
    advisory = entry(f"CVE-2016-XXXX {text}\n")
    assert advisory is not None
    assert advisory.id == f"CVE-2016-XXXX/{name}"
    assert [part.id for part in advisory.parts or ()] == [name]


def test_the_urgency_of_unstable_counts_for_a_release_that_has_none() -> None:
    advisory = entry("CVE-2023-1393 (A)\n\t- x 2-1 (low; bug #1)\n\t[bullseye] - x <no-dsa> (Minor issue)\n")
    assert advisory is not None
    urgencies = {affected.ecosystem_specific.urgency for affected in affected_packages(advisory)}  # type: ignore[union-attr]
    assert urgencies == {"low"}


@pytest.mark.parametrize(
    ("path", "scope"),
    [("CVE/list", "CVE-"), ("DSA/list", "DSA-"), ("DLA/list", "DLA-"), ("DTSA/list", "DTSA-")],
)
def test_a_list_is_complete_for_its_kind(path: str, scope: str) -> None:
    content = debian_dsa.SAMPLE[f"data/{path}"].encode()
    assert LISTS.listing(path, content) == Listing("", scope)
    read = [LISTS.read(LISTS.canonical(path, piece.raw).parsed) for piece in LISTS.records(path, content)]
    assert all(each.id.startswith(scope) for each in read if each)


def test_a_mixture_is_complete_for_nothing() -> None:
    assert LISTS.listing("list", (debian_dsa.DSAS + debian_dsa.DLAS).encode()) is None
    assert LISTS.listing("list", b"") is None


@pytest.mark.parametrize("feed", ["debian-tracker", "debian-dsa"])
def test_both_forms_are_debians(feed: str) -> None:
    assert databases.tell([("anything", [])], feed).name == "debian"
