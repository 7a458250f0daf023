"""Constraints in an ecosystem's own syntax on their way into the database."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, Affected, Package, Specific, assess
from stellaops.bundles.trivy.buckets import bucket_named
from stellaops.bundles.trivy.constraints.spelling import requirement
from stellaops.bundles.trivy.projection import Projection, project
from stellaops.bundles.trivy.sentinels import vulnerable_version
from stellaops.bundles.trivy.values import merge_ranges, ranges_value

RUBY = databases.get("rubysec") or databases.GENERIC


def projected(*told: Specific, ecosystem: str = "RubyGems") -> Projection:
    affected = [Affected(Package(ecosystem, "rack"), ecosystem_specific=one) for one in told]
    advisory = Advisory("CVE-2022-44571", affected=affected)
    return project(advisory, RUBY, assess(advisory))


def value(projection: Projection) -> Any:
    (row,) = projection.advisories
    return json.loads(row.value)


def test_a_requirement_that_cannot_be_read_is_left_out_and_told() -> None:
    found = projected(Specific(patched=[">= 2.0.9.2", "after 3.0"]))
    assert value(found) == {"PatchedVersions": [">= 2.0.9.2"]}
    assert [problem.constraint for problem in found.problems] == ["after 3.0"]


def test_where_nothing_vulnerable_can_be_read_nothing_is_written() -> None:
    found = projected(Specific(vulnerable=["before 3.0"], patched=[">= 3.0"]))
    assert found.advisories == ()
    assert len(found.problems) == 1


def test_where_nothing_at_all_can_be_read_nothing_is_written() -> None:
    assert projected(Specific(patched=["after 3.0"])).advisories == ()


@pytest.mark.parametrize("odd", [5, "1.0", {"a": 1}, [1, None, [">= 1"]], True])
def test_what_is_no_list_of_texts_says_nothing(odd: Any) -> None:
    assert projected(Specific(vulnerable=odd, patched=odd, unaffected=odd)).advisories == ()


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("<=1.0", "<1.1.0-0"),
        ("<= 1", "<2.0.0-0"),
        (">1.2", ">=1.3.0-0"),
        (">= 1.2 <=1.4", ">= 1.2 <1.5.0-0"),
        ("<=1.0.0", "<=1.0.0"),
        ("<=1.x", "<=1.x"),
        ("<=1.0-beta", "<=1.0-beta"),
        ("<1.2 || ^1.2", "<1.2 || ^1.2"),
        (">=1.2", ">=1.2"),
        ("<=10.10 || >20", "<10.11.0-0 || >=21.0.0-0"),
    ],
)
def test_partial_bounds_of_npm_are_spelled_out(text: str, spelled: str) -> None:
    assert requirement("npm", text) == spelled
    assert requirement("rubygems", f" {text} ") == text


def test_statements_that_name_what_is_secure_alone_are_united() -> None:
    one = ranges_value((), (">= 2.0",), ("GHSA-a",), ("< 1.0",))
    other = ranges_value((), (">= 3.0",), (), ("< 1.0",))
    merged = json.loads(merge_ranges("rubygems", [one, other]))
    assert merged["PatchedVersions"] == [">= 3.0"]
    assert merged["UnaffectedVersions"] == ["< 1.0"]
    assert merged["VendorIDs"] == ["GHSA-a"]
    assert merge_ranges("rubygems", [other, one]) == merge_ranges("rubygems", [one, other])


@pytest.mark.parametrize(
    ("vulnerable", "patched", "unaffected", "version"),
    [
        ((), ("~> 6.0.3, >= 6.0.3.5", ">= 6.1.2.1"), ("< 6.0.0",), "6.0.3"),
        ((), (">= 2.0",), (), "0.0.1"),
        ((), (">= 0",), (), None),
        (("<= 3.0.1",), (">= 3.0.1",), (), "0.0.1"),
        (("= 3.7.2",), ("3.7.2",), (), None),
    ],
)
def test_a_sentinel_is_a_version_that_nothing_takes_out(
    vulnerable: tuple[str, ...], patched: tuple[str, ...], unaffected: tuple[str, ...], version: str | None
) -> None:
    bucket = bucket_named("rubygems::Ruby Advisory Database")
    assert vulnerable_version(bucket, ranges_value(vulnerable, patched, (), unaffected)) == version
