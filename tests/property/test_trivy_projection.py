"""What must hold of the Trivy rows of any document."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory, assess
from stellaops.bundles.trivy import inspect
from stellaops.bundles.trivy.constraints import problem
from stellaops.bundles.trivy.constraints.reading import read
from stellaops.bundles.trivy.projection import Projection, project
from stellaops.bundles.trivy.values import decode_detail, merge_fixed, merge_ranges
from stellaops.bundles.trivy.vulnerability_db import DataSource, write_database
from stellaops.matching.ranges import contains
from stellaops.matching.versions.registry import scheme_of

GHSA = databases.get("ghsa") or databases.GENERIC
# OSV ecosystem, Trivy's name for it, versions in ascending order.
ORDERS = {
    "npm": ("npm", ["0.0.1", "0.9.0", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0", "1.2.10", "2.0.0", "10.0.0"]),
    "PyPI": ("pip", ["0.1", "0.9.post1", "1.0a1", "1.0rc1", "1.0", "1.0.1", "1.2.10", "2!0.5"]),
    "crates.io": (
        "cargo",
        ["0.0.1", "0.9.0", "1.0.0-alpha", "1.0.0-rc.1", "1.0.0", "1.2.10", "2.0.0", "10.0.0"],
    ),
    "Maven": ("maven", ["0.1", "0.9", "1.0-alpha-1", "1.0-rc1", "1.0", "1.0.1", "1.2.10", "2.0"]),
    "RubyGems": ("rubygems", ["0.1", "0.9", "1.0.a", "1.0.rc1", "1.0", "1.0.1", "1.2.10", "2.0"]),
}


def projected(document: dict[str, Any]) -> Projection:
    advisory = msgspec.convert(document, Advisory)
    return project(advisory, GHSA, assess(advisory))


@st.composite
def events(draw: st.DrawFn, order: Sequence[str]) -> list[dict[str, str]]:
    """Ranges one after the other, in any order of writing."""
    cuts = sorted(draw(st.sets(st.integers(0, len(order) - 1), min_size=1, max_size=6)))
    found = [{"introduced": draw(st.sampled_from(("0", order[cuts[0]])))}]
    for number, cut in enumerate(cuts[1:]):
        if number % 2:
            found.append({"introduced": order[cut]})
        else:
            found.append({draw(st.sampled_from(("fixed", "last_affected"))): order[cut]})
    return draw(st.permutations(found))


def affected_by(written: Sequence[dict[str, str]], version: str, order: Sequence[str]) -> bool:
    """OSV's evaluation, on places instead of versions."""
    own, state = order.index(version), False

    def place(event: dict[str, str]) -> int:
        ((kind, text),) = event.items()
        return -1 if kind == "introduced" and text == "0" else order.index(text)

    for event in sorted(written, key=place):
        ((kind, _),) = event.items()
        if kind == "introduced" and own >= place(event):
            state = True
        elif (kind == "fixed" and own >= place(event)) or (kind == "last_affected" and own > place(event)):
            state = False
    return state


def reported(scheme: str, entry: dict[str, Any], version: str) -> bool:
    """Trivy's decision, by what its comparers read."""
    key = scheme_of(scheme).key(version)

    def matches(texts: Sequence[str]) -> bool:
        return any(contains(read(scheme, text).outer, key) for text in texts)

    return matches(entry["VulnerableVersions"]) and not matches(entry.get("PatchedVersions", ()))


@pytest.mark.parametrize("ecosystem", sorted(ORDERS))
@given(data=st.data())
def test_an_entry_reports_the_versions_that_its_document_calls_affected(
    ecosystem: str, data: st.DataObject
) -> None:
    scheme, order = ORDERS[ecosystem]
    written = data.draw(events(order))
    listed = data.draw(st.lists(st.sampled_from(order), max_size=3))
    affected = {
        "package": {"ecosystem": ecosystem, "name": "group:name"},
        "ranges": [{"type": "ECOSYSTEM", "events": written}],
        "versions": listed,
    }
    (row,) = projected({"id": "GHSA-1", "affected": [affected]}).advisories
    entry = json.loads(row.value)
    fixed = {event["fixed"] for event in written if "fixed" in event}
    for version in order:
        in_list = version in listed and version not in fixed
        assert reported(scheme, entry, version) is (affected_by(written, version, order) or in_list), version


texts = st.text(max_size=12) | st.sampled_from(
    [
        "1.0",
        "1.0.0",
        "0",
        "v1",
        "1.0||2.0",
        "<2",
        "=1",
        "*",
        "x",
        "1.0, 2.0",
        "",
        "1.0.0-rc.1",
        " 1.0 ",
        "1:2-3",
    ]
)
ecosystems = st.sampled_from(
    [
        "npm",
        "PyPI",
        "Go",
        "Maven",
        "crates.io",
        "RubyGems",
        "NuGet",
        "Packagist",
        "Bitnami",
        "Julia",
        "Hex",
        "Pub",
    ]
)
junk = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["GHSA-1", "CVE-2026-1001"]),
        "affected": st.lists(
            st.fixed_dictionaries(
                {"package": st.fixed_dictionaries({"ecosystem": ecosystems, "name": st.text(max_size=8)})},
                optional={
                    "versions": st.lists(texts, max_size=4),
                    "ranges": st.lists(
                        st.fixed_dictionaries(
                            {
                                "type": st.sampled_from(["SEMVER", "ECOSYSTEM", "GIT"]),
                                "events": st.lists(
                                    st.dictionaries(
                                        st.sampled_from(["introduced", "fixed", "last_affected", "limit"]),
                                        texts,
                                        min_size=1,
                                        max_size=1,
                                    ),
                                    max_size=5,
                                ),
                            }
                        ),
                        max_size=3,
                    ),
                },
            ),
            max_size=3,
        ),
    },
    optional={
        "aliases": st.lists(
            st.sampled_from(["CVE-2026-1002", "CVE-2026-1003", "OTHER-1", "CVE-x"]), max_size=3
        ),
        "summary": st.text(max_size=8),
        "details": st.text(max_size=8),
        "severity": st.lists(st.fixed_dictionaries({"type": texts, "score": texts}), max_size=2),
        "references": st.lists(st.fixed_dictionaries({"url": texts}), max_size=2),
        "published": texts,
        "modified": texts,
    },
)


@given(documents=st.lists(junk, max_size=4))
def test_whatever_documents_say_the_database_is_sound_and_holds_nothing_that_trivy_cannot_read(
    documents: list[dict[str, Any]],
) -> None:
    projections = [projected(document) for document in documents]
    rows = sorted(
        (row.bucket, row.package, row.vulnerability, number, row.value)
        for number, projection in enumerate(projections)
        for row in projection.advisories
    )
    details = sorted(
        (name, number, told.value)
        for number, projection in enumerate(projections)
        for told in projection.details
        for name in told.vulnerabilities
    )
    for bucket, _, _, _, value in rows:
        entry = json.loads(value)
        for text in (*entry["VulnerableVersions"], *entry.get("PatchedVersions", ())):
            assert problem(bucket.partition("::")[0], text) is None
    out = io.BytesIO()
    written = write_database(
        out,
        [(bucket, package, name, 1, value) for bucket, package, name, _, value in rows if package],
        [(name, "ghsa", decode_detail(detail)) for name, _, detail in details],
        {row[0]: DataSource("ghsa", "GitHub", "https://example.org") for row in rows},
    )
    survey = inspect.survey(out.getvalue())
    assert survey.problems == ()
    assert (survey.advisories, survey.vulnerabilities) == (written.advisories, written.vulnerabilities)


fixes = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "FixedVersion": st.sampled_from(["1.0-1", "1.9-1", "1.10-1", "2:0.1-1", ""]),
            "Severity": st.integers(1, 4),
            "VendorIDs": st.lists(st.sampled_from(["DSA-1", "DSA-2"]), min_size=1, max_size=2),
        },
    ),
    min_size=1,
    max_size=4,
)


@given(parts=fixes, data=st.data(), scheme=st.sampled_from(["debian", "alma", "rocky", "photon", "echo"]))
def test_merging_a_distributions_entries_depends_on_neither_order_nor_repetition(
    parts: list[dict[str, Any]], data: st.DataObject, scheme: str
) -> None:
    values = [json.dumps(part).encode() for part in parts]
    merged = merge_fixed(scheme, values)
    assert merge_fixed(scheme, data.draw(st.permutations(values))) == merged
    assert merge_fixed(scheme, [*values, values[0]]) == merged
    assert merge_fixed(scheme, [merged]) == merged


@given(data=st.data())
def test_merging_language_entries_reports_all_that_each_reports(data: st.DataObject) -> None:
    scheme, order = ORDERS["npm"]
    values = []
    for _ in range(data.draw(st.integers(2, 4))):
        affected = {
            "package": {"ecosystem": "npm", "name": "x"},
            "ranges": [{"type": "SEMVER", "events": data.draw(events(order))}],
        }
        (row,) = projected({"id": "GHSA-1", "affected": [affected]}).advisories
        values.append(row.value)
    merged = merge_ranges(scheme, values)
    assert merge_ranges(scheme, data.draw(st.permutations(values))) == merged
    entries = [json.loads(value) for value in values]
    for version in order:
        told = any(reported(scheme, entry, version) for entry in entries)
        assert reported(scheme, json.loads(merged), version) is told
