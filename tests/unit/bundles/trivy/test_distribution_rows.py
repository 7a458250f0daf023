"""What distributions say beyond a fixed version: why there is none, how sure it is, and what the release has."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, Affected, Event, Package, Range, Specific, assess
from stellaops.advisories.debian import STATUSES as DEBIAN_STATUSES
from stellaops.advisories.debian import statement
from stellaops.bundles.trivy.projection import AdvisoryRow, project
from stellaops.bundles.trivy.values import STATUSES, fixed_value, merge_fixed
from stellaops.bundles.trivy.vulnerability_db import _merged


def rows(*affected: Affected, identifier: str = "CVE-2023-1393", **more: Any) -> list[AdvisoryRow]:
    database = databases.get("debian")
    assert database is not None
    advisory = Advisory(identifier, affected=list(affected), **more)
    return list(project(advisory, database, assess(advisory)).advisories)


def value(*affected: Affected) -> dict[str, Any]:
    (row,) = rows(*affected)
    found: dict[str, Any] = json.loads(row.value)
    return found


@pytest.mark.parametrize(("word", "number"), STATUSES.items())
def test_why_there_is_no_fix_is_kept_as_trivys_number(word: str, number: int) -> None:
    assert value(statement("bullseye", "x", None, status=word)) == {"Status": number}


def test_where_there_is_a_fix_no_status_is_kept() -> None:
    assert value(statement("bullseye", "x", "1-1", status="will_not_fix")) == {"FixedVersion": "1-1"}


def test_every_word_of_debian_is_one_of_trivys() -> None:
    assert set(DEBIAN_STATUSES.values()) <= set(STATUSES)


@pytest.mark.parametrize("status", ["nonsense", None, 5, ["affected"], {}, True])
def test_a_status_of_no_meaning_is_none(status: Any) -> None:
    affected = Affected(
        Package("Debian:11", "x"), [Range("ECOSYSTEM", [Event(introduced="0")])],
        ecosystem_specific=Specific(status=status, archive=status, vendor_ids=status, weak=status or None),
    )  # fmt: skip
    assert value(affected) in ({}, {"VendorIDs": ["affected"]})


@pytest.mark.parametrize(
    ("fixed", "archive", "expected"),
    [
        ("1-2", ["1-1", "1-2"], {"FixedVersion": "1-2"}),
        ("1-2", ["1-3", "1-1"], {"FixedVersion": "1-2"}),
        ("1-10", ["1-9"], {"Status": 2}),
        ("1:1-1", ["2-1"], {"Status": 2}),
        ("1-2", [], {"FixedVersion": "1-2"}),
        ("1-2", ["no version!"], {"FixedVersion": "1-2"}),
    ],
)
def test_a_fix_that_is_newer_than_the_archive_is_none_yet(
    fixed: str, archive: list[str], expected: dict[str, Any]
) -> None:
    assert value(statement("bullseye", "x", fixed, archive=archive)) == expected


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
def test_a_weak_statement_gives_way_within_a_document(order: tuple[int, ...]) -> None:
    both = [statement("bullseye", "x", "1-1"), statement("bullseye", "x", "9-9", weak=True)]
    (row,) = rows(*(both[place] for place in order))
    assert (json.loads(row.value), row.strength) == ({"FixedVersion": "1-1"}, 1)


def test_a_weak_statement_alone_counts() -> None:
    (row,) = rows(statement("bullseye", "x", "9-9", weak=True))
    assert (json.loads(row.value), row.strength) == ({"FixedVersion": "9-9"}, 0)


def test_a_weak_statement_gives_way_to_another_documents() -> None:
    general = rows(statement("bullseye", "x", "9-9", weak=True))
    of_release = rows(statement("bullseye", "x", "1-1"), identifier="DSA-5380-1", upstream=["CVE-2023-1393"])
    entries = [
        (row.bucket, row.package, row.vulnerability, row.strength, row.value) for row in general + of_release
    ]
    for order in itertools.permutations(entries):
        ((name, merged),) = _merged(order, lambda values: merge_fixed("debian", values))
        assert name == b"CVE-2023-1393"
        assert json.loads(merged) == {"FixedVersion": "1-1", "VendorIDs": ["DSA-5380-1"]}


def test_names_for_one_package_alone_stand_beside_the_documents_own() -> None:
    named = Affected(
        Package("Debian:11", "x"), [Range("ECOSYSTEM", [Event(introduced="0"), Event(fixed="1-1")])],
        ecosystem_specific=Specific(vendor_ids=["DSA-2", "", 7]),
    )  # fmt: skip
    found = rows(named, statement("bullseye", "y", "1-1"), aliases=["XSA-1"])
    assert {row.package: json.loads(row.value)["VendorIDs"] for row in found} == {
        "x": ["DSA-2", "XSA-1"],
        "y": ["XSA-1"],
    }


def test_of_several_words_on_a_package_without_a_fix_the_most_particular_is_kept() -> None:
    values = [fixed_value("", "", 0, (), status) for status in (2, 5, 0)]
    for order in itertools.permutations(values):
        assert json.loads(merge_fixed("debian", order)) == {"Status": 5}
    # A distribution in which Trivy passes over what has no fix: the fix counts, and no status.
    assert json.loads(merge_fixed("alma", [*values, fixed_value("1-1", "", 0, ())])) == {
        "FixedVersion": "1-1"
    }
