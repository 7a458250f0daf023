"""Findings depend on the evidence alone, not on the order in which it came; parsers raise our errors alone."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stellaops.adapters.sql.findings import SqlAdvisories, SqlSboms
from stellaops.adapters.sql.vex_consensus import SqlConsensus
from stellaops.advisories.canonical import Malformed
from stellaops.findings.find import Request, Tools, find
from stellaops.findings.finding import Finding
from stellaops.ingest.feeds import Side
from stellaops.ingest.model import owned_source
from stellaops.matching.constraints import BadConstraint, satisfies
from stellaops.matching.versions.interface import InvalidVersion
from stellaops.matching.versions.registry import OWN_RULES
from stellaops.policy.overlay import lint
from stellaops.sboms.feed import SbomFeed
from tests.contract.stores import Files, Store, osv, sqlite_store

NAMES = ("alpha", "beta")
VERSIONS = ("1.0", "1.5", "2.0", "3.0")


def advisory(identifier: str, name: str, bounds: tuple[str, str], aliases: list[str]) -> dict[str, Any]:
    ecosystem = {"ecosystem": "PyPI", "name": name}
    events = [{"introduced": bounds[0]}, {"fixed": bounds[1]}]
    return osv(
        identifier,
        aliases=aliases,
        affected=[{"package": ecosystem, "ranges": [{"type": "ECOSYSTEM", "events": events}]}],
    )


advisories = st.lists(
    st.builds(
        advisory,
        st.sampled_from([f"GHSA-{letter * 4}-{letter * 4}-{letter * 4}" for letter in "cfgh"]),
        st.sampled_from(NAMES),
        st.sampled_from([("0", "1.5"), ("1.0", "3.0"), ("1.5", "2.0")]),
        st.lists(
            st.sampled_from(["CVE-2024-0001", "CVE-2024-0002", "PYSEC-2024-1"]), unique=True, max_size=2
        ),
    ),
    max_size=6,
)
components = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VERSIONS)), max_size=4)


def bom(listed: list[tuple[str, str]]) -> dict[str, Any]:
    made = [
        {"type": "library", "name": name, "version": v, "purl": f"pkg:pypi/{name}@{v}"} for name, v in listed
    ]
    subject = {"type": "application", "name": "shop", "version": "1"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "metadata": {"component": subject},
        "components": made,
    }


def vex(*stated: tuple[str, str, str]) -> dict[str, Any]:
    told = [
        {
            "vulnerability": {"name": name},
            "status": status,
            "timestamp": f"2026-01-0{day}T00:00:00Z",
            "products": [{"@id": "pkg:pypi/alpha"}],
            "justification": "vulnerable_code_not_present",
        }
        for day, (name, status) in enumerate((each[:2] for each in stated), 1)
    ]
    context = "https://openvex.dev/ns/v0.2.0"
    return {
        "@context": context,
        "@id": "v",
        "author": "ACME",
        "timestamp": "2026-01-01T00:00:00Z",
        "statements": told,
    }


VEX = vex(("CVE-2024-0001", "not_affected", ""), ("PYSEC-2024-1", "affected", ""))


def found(store: Store) -> list[Finding]:
    tools = Tools(SqlSboms(store.engine), SqlAdvisories(store.engine), SqlConsensus(store.engine))
    return find(Request("default"), tools)


def filled(
    pytest_dir: pytest.TempPathFactory, documents: list[dict[str, Any]], listed: list[tuple[str, str]]
) -> Store:
    store = sqlite_store(pytest_dir.mktemp("store"))
    files = {f"{number}/{one['id']}.json": one for number, one in enumerate(documents)}
    for source, some in (("one", list(files)[::2]), ("two", list(files)[1::2])):
        if some:
            store.take({path.partition("/")[2]: files[path] for path in some}, source, database="ghsa")
    store.take({"v.json": VEX}, "vex", side=Side.VEX)
    store.take(Files({"bom.json": bom(listed)}), owned_source("sboms", "default"), side=Side.SBOMS)
    return store


@given(advisories, components, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_same_evidence_gives_the_same_findings_in_whatever_order_it_came(
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[dict[str, Any]],
    listed: list[tuple[str, str]],
    chance: random.Random,
) -> None:
    documents = list({one["id"]: one for one in documents}.values())
    first = found(filled(tmp_path_factory, documents, listed))
    half = len(documents[::2])
    one, two = documents[::2], documents[1::2]
    chance.shuffle(one)
    chance.shuffle(two)
    again = [part[number // 2] for number in range(half + len(two)) for part in ((one, two)[number % 2],)]
    turned = listed.copy()
    chance.shuffle(turned)
    second = found(filled(tmp_path_factory, again, turned))
    assert [each.wire() for each in first] == [each.wire() for each in second]
    assert sorted(each.order for each in first) == [each.order for each in first]
    assert len({each.order for each in first}) == len(first)


def brute(documents: list[dict[str, Any]], listed: list[tuple[str, str]]) -> set[tuple[str, str, str]]:
    """What the documents say, worked out plainly: the component and the document."""
    return {
        (name, version, document["id"])
        for name, version in listed
        for document in documents
        for affected in document["affected"]
        if affected["package"]["name"] == name
        and affected["ranges"][0]["events"][0]["introduced"]
        <= version
        < affected["ranges"][0]["events"][1]["fixed"]
    }


@given(advisories, components)
@settings(max_examples=20, deadline=None)
def test_findings_name_every_document_that_applies_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, documents: list[dict[str, Any]], listed: list[tuple[str, str]]
) -> None:
    documents = list({one["id"]: one for one in documents}.values())
    told = {
        (one.name, one.version, rule.key)
        for one in found(filled(tmp_path_factory, documents, listed))
        for rule in one.rules
    }
    assert told == brute(documents, listed)


BOM = json.dumps(bom([("alpha", "1.0"), ("beta", "2.0")])).encode()
XML = b'<bom xmlns="http://cyclonedx.org/schema/bom/1.4"><components><component><name>a</name></component></components></bom>'
TAGS = (
    b"SPDXVersion: SPDX-2.3\nDocumentName: x\nPackageName: a\nExternalRef: PACKAGE-MANAGER purl pkg:npm/a@1\n"
)
POLICY = yaml.safe_dump(
    {
        "apiVersion": "stellaops.io/policy.v1",
        "kind": "PolicyOverlay",
        "metadata": {"name": "a"},
        "spec": {"ignoreRules": [{"id": "a", "reason": "r", "match": {"packages": ["pkg:npm/a"]}}]},
    }
).encode()


@given(
    st.sampled_from(["a.json", "a.xml", "a.spdx"]),
    st.one_of(
        st.binary(max_size=200),
        st.tuples(st.sampled_from([BOM, XML, TAGS]), st.integers(0, 400), st.binary(max_size=4)).map(
            lambda told: told[0][: told[1]] + told[2] + told[0][told[1] + 1 :]
        ),
    ),
)
@settings(max_examples=300, deadline=None)
@example(
    "a.json",
    b'{"bomFormat": "CycloneDX", "metadata": [], "components": [1, {"purl": 3}], "dependencies": {}}',
)
@example("a.json", b'{"spdxVersion": "SPDX-2.3", "name": "x", "packages": [null], "documentDescribes": [[]]}')
def test_bytes_that_are_no_bill_of_materials_are_refused_by_our_error_alone(path: str, raw: bytes) -> None:
    feed = SbomFeed()
    feed.recognises(path, raw)
    with contextlib.suppress(Malformed):
        feed.read(feed.canonical(path, raw).parsed)


@given(
    st.one_of(
        st.binary(max_size=100),
        st.tuples(st.integers(0, len(POLICY)), st.binary(max_size=4)).map(
            lambda told: POLICY[: told[0]] + told[1] + POLICY[told[0] + 1 :]
        ),
    )
)
@settings(max_examples=300, deadline=None)
def test_bytes_that_are_no_overlay_are_told_as_problems(raw: bytes) -> None:
    overlay, problems = lint(raw)
    assert (overlay is None) == bool(problems)


@given(
    st.sampled_from(sorted(OWN_RULES)),
    st.text(alphabet="<>=!~^|, *xX.-+v019ab", max_size=16),
    st.sampled_from(["1.0.0", "0.1", "v2.3.4", "1.0.0-rc.1", "x", ""]),
)
@settings(max_examples=1000, deadline=None)
def test_any_text_is_a_constraint_or_refused_by_our_error(
    ecosystem: str, constraint: str, version: str
) -> None:
    with contextlib.suppress(BadConstraint, InvalidVersion):
        assert satisfies(ecosystem, constraint, version) in (True, False)
