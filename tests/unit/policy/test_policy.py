"""Overlays are checked as a whole, snapshots leave out what has expired, rules say what they are about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
import yaml

from stellaops.policy.evaluate import Rules
from stellaops.policy.overlay import BadOverlay, Match, Overlay, lint, parse
from stellaops.policy.snapshot import EMPTY, BadSnapshot, take
from stellaops.policy.snapshot import parse as parse_snapshot

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OSV = {
    "id": "ACME-1",
    "affected": [{"package": {"ecosystem": "PyPI", "name": "shop"}, "versions": ["1.0"]}],
}


def document(name: str = "base", **spec: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "stellaops.io/policy.v1",
        "kind": "PolicyOverlay",
        "metadata": {"name": name},
        "spec": spec,
    }


def overlay(name: str = "base", **spec: list[dict[str, Any]]) -> Overlay:
    return parse(yaml.safe_dump(document(name, **spec)).encode())


def ignore(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "reason": "because", "match": {"vulnerabilities": ["CVE-2024-0001"]}, **more}


class About(NamedTuple):
    names: tuple[str, ...] = ("CVE-2024-0001", "GHSA-aaaa-bbbb-cccc")
    purl: str = "pkg:pypi/shop@1.0?extra=a"
    sbom: str = "pkg:oci/image@1"


def test_every_kind_of_rule_is_read() -> None:
    found = overlay(
        severityOverrides=[{**ignore("a"), "severity": "low"}],
        ignoreRules=[ignore("b", expires="2026-12-31")],
        privateAdvisories=[{"id": "c", "reason": "ours", "advisory": OSV}],
        vexIssuerWeights=[{"id": "d", "reason": "trusted", "issuer": "ACME", "weight": 900}],
        sourceAllowLists=[{"id": "e", "reason": "ours", "sources": ["ghsa"]}],
    )
    assert [rule.id for rule in found.rules] == ["a", "b", "c", "d", "e"]


def test_everything_that_is_wrong_is_told_at_once_with_its_place() -> None:
    bad = document(
        ignoreRules=[
            {"id": "a b", "match": {"packages": ["shop"], "colour": ["red"]}},
            {"id": "x", "reason": "r", "match": {}, "expires": "soon"},
            {"id": "x", "reason": "r", "match": {"vulnerabilities": "CVE-1"}},
        ],
        severityOverrides=[{"id": "y", "reason": "r", "match": {"sboms": ["s"]}, "severity": "terrible"}],
        privateAdvisories=[{"id": "z", "reason": "r", "advisory": {"id": "A", "affected": [{}]}}],
        vexIssuerWeights=[{"id": "w", "reason": "r", "issuer": "I", "weight": 5000}],
        surprises=[],
    )
    bad["kind"] = "Other"
    found, problems = lint(yaml.safe_dump(bad).encode(), "p.yaml")
    assert found is None
    told = "\n".join(problems)
    for part in (
        "p.yaml: kind: must be",
        "spec.surprises: is none of",
        "spec.ignoreRules[0].id",
        "spec.ignoreRules[0].reason: a text is needed",
        "spec.ignoreRules[0].match.colour",
        "spec.ignoreRules[0].match.packages[0]: 'shop' is no package URL",
        "spec.ignoreRules[1].expires: 'soon'",
        "spec.ignoreRules[1].match: at least one",
        "spec.ignoreRules[2].match.vulnerabilities: a list of texts",
        "the id 'x' stands 2 times",
        "spec.severityOverrides[0].severity: 'terrible'",
        "spec.privateAdvisories[0].advisory.affected[0].package",
        "spec.vexIssuerWeights[0].weight: '5000'",
    ):
        assert part in told, part


@pytest.mark.parametrize("raw", [b"", b"[]", b"a: &a [*a]", b"\xff", b"a: b\n---\nc: d", b"x"])
def test_bytes_that_are_no_overlay_are_problems_and_no_crash(raw: bytes) -> None:
    found, problems = lint(raw)
    assert found is None
    assert problems
    with pytest.raises(BadOverlay):
        parse(raw)


def test_what_has_expired_drops_out_when_the_snapshot_is_taken() -> None:
    base = overlay(
        ignoreRules=[
            ignore("day", expires="2026-03-01"),
            ignore("instant", expires="2026-03-01T11:59:59Z"),
            ignore("later", expires="2026-03-02"),
            ignore("never"),
        ]
    )
    snapshot, gone = take([base], NOON)
    assert [rule.id for rule in snapshot.rules] == ["day", "later", "never"]
    assert [rule.id for rule in gone] == ["instant"]
    assert [rule.id for rule in take([base], datetime(2026, 3, 2, tzinfo=UTC))[0].rules] == ["later", "never"]


def test_equal_rules_are_one_snapshot_whatever_the_order_and_the_day() -> None:
    one, other = overlay("one", ignoreRules=[ignore("a")]), overlay("other", ignoreRules=[ignore("b")])
    taken = {
        take(some, at)[0].digest
        for some in ([one, other], [other, one])
        for at in (NOON, NOON.replace(year=2030))
    }
    assert len(taken) == 1
    assert taken != {EMPTY.digest}


def test_a_snapshot_is_read_back_from_its_bytes_alone() -> None:
    snapshot, _ = take([overlay(ignoreRules=[ignore("a")], privateAdvisories=[
        {"id": "c", "reason": "ours", "advisory": OSV}])], NOON)  # fmt: skip
    assert parse_snapshot(snapshot.body) == snapshot
    for body in (b"{}", snapshot.body + b" ", snapshot.body.replace(b"v1", b"v2"), b"\xff"):
        with pytest.raises(BadSnapshot):
            parse_snapshot(body)


def test_one_id_in_two_overlays_is_refused() -> None:
    with pytest.raises(BadOverlay, match="'a' stands in the overlays one and other"):
        take([overlay("one", ignoreRules=[ignore("a")]), overlay("other", ignoreRules=[ignore("a")])], NOON)


@pytest.mark.parametrize(
    ("match", "applies"),
    [
        (Match(vulnerabilities=("GHSA-aaaa-bbbb-cccc",)), True),
        (Match(vulnerabilities=("CVE-2024-0002",)), False),
        (Match(packages=("pkg:pypi/Shop",)), True),
        (Match(packages=("pkg:pypi/shop",)), True),
        (Match(packages=("pkg:pypi/shop@1.0",)), True),
        (Match(packages=("pkg:pypi/shop@1.1",)), False),
        (Match(packages=("pkg:pypi/shop?extra=b",)), False),
        (Match(packages=("pkg:npm/shop",)), False),
        (Match(sboms=("pkg:oci/image@1",)), True),
        (Match(sboms=("pkg:oci/image@2",)), False),
        (Match(vulnerabilities=("CVE-2024-0001",), sboms=("pkg:oci/image@2",)), False),
    ],
)
def test_a_rule_is_about_findings_that_every_list_of_it_holds(match: Match, applies: bool) -> None:
    written = {
        "vulnerabilities": list(match.vulnerabilities),
        "packages": list(match.packages),
        "sboms": list(match.sboms),
    }
    rule = {"id": "a", "reason": "r", "match": {name: told for name, told in written.items() if told}}
    snapshot, _ = take([overlay(ignoreRules=[rule])], NOON)
    assert Rules(snapshot).evaluate(About(), "HIGH").suppressed is applies


def test_the_most_severe_override_counts_and_every_rule_is_named() -> None:
    rules = [{**ignore("a"), "severity": "low"}, {**ignore("b"), "severity": "medium"}]
    snapshot, _ = take([overlay(severityOverrides=rules, ignoreRules=[ignore("c")])], NOON)
    outcome = Rules(snapshot).evaluate(About(), "CRITICAL")
    assert (outcome.severity, outcome.suppressed) == ("MEDIUM", True)
    assert [one.rule for one in outcome.applied] == ["a", "b", "c"]


def test_allow_lists_are_united_and_without_any_all_sources_count() -> None:
    lists = [{"id": name, "reason": "r", "sources": [name]} for name in ("ghsa", "pypa")]
    rules = Rules(take([overlay(sourceAllowLists=lists)], NOON)[0])
    assert [name for name in ("ghsa", "pypa", "osv") if rules.allows(name)] == ["ghsa", "pypa"]
    assert Rules(EMPTY).allows("osv")
