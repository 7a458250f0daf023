"""What belongs to one tenant stays with it: SBOMs and policy in the evidence store, on every database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stellaops.adapters.sql.engine import writing
from stellaops.adapters.sql.findings import SqlAdvisories, SqlSboms
from stellaops.adapters.sql.policies import SqlPolicies
from stellaops.adapters.sql.projections import SqlProjections
from stellaops.adapters.sql.sbom_schema import sbom_component, sbom_document
from stellaops.adapters.sql.vex_consensus import SqlConsensus
from stellaops.findings.find import Request, SbomNotFound, Tools, find
from stellaops.findings.policies import SnapshotNotFound, find_snapshot, take_snapshot
from stellaops.ingest.apply_policy import apply_policy
from stellaops.ingest.feeds import Side
from stellaops.ingest.import_documents import BadSourceName
from stellaops.ingest.model import ImportReport, owned_source
from stellaops.policy.overlay import BadOverlay
from stellaops.policy.snapshot import EMPTY
from tests.contract.stores import NOON, Files, Store, osv
from tests.property.test_findings import advisory, bom

CVE = "CVE-2024-0001"


def take_sbom(store: Store, files: dict[str, object], tenant: str = "default", **more: Any) -> ImportReport:
    return store.take(files, owned_source("sboms", tenant), side=Side.SBOMS, **more)


def overlay(name: str = "base", **spec: Any) -> bytes:
    head = {"apiVersion": "stellaops.io/policy.v1", "kind": "PolicyOverlay", "metadata": {"name": name}}
    return json.dumps({**head, "spec": spec}).encode()


def rule(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "reason": "because", "match": {"vulnerabilities": [CVE]}, **more}


def apply(store: Store, files: dict[str, object], tenant: str = "default", **more: Any) -> ImportReport:
    return apply_policy(
        tenant, Files(files), sources=store.sources, store=store.imports, now=lambda: NOON, **more
    )


def tools(store: Store) -> Tools:
    return Tools(SqlSboms(store.engine), SqlAdvisories(store.engine), SqlConsensus(store.engine))


@pytest.fixture
def shop(store: Store) -> Store:
    """A store with one advisory and one bill of materials that it is about."""
    store.take(
        {"a.json": advisory("GHSA-cccc-cccc-cccc", "alpha", ("0", "2.0"), [CVE])}, "ghsa", database="ghsa"
    )
    take_sbom(store, {"bom.json": bom([("alpha", "1.5"), ("beta", "1.0")])})
    return store


def test_a_bill_of_materials_is_kept_byte_for_byte_with_its_revisions(store: Store) -> None:
    first, second = json.dumps(bom([("alpha", "1.0")]), indent=3).encode(), bom([("alpha", "1.5")])
    assert take_sbom(store, {"bom.json": first}).added == 1
    before = store.sequence
    assert take_sbom(store, {"bom.json": first}).unchanged == 1
    assert store.records.raw("sboms@default", "shop@1#bom.json") == first
    assert take_sbom(store, {"bom.json": second}).changed == 1
    sboms = SqlSboms(store.engine)
    for sequence, version in ((before, "1.0"), (None, "1.5")):
        (stored,) = sboms.sboms("default", sequence=sequence)
        assert [one.version for one in sboms.parts(stored).components] == [version]


def test_what_cannot_be_read_goes_to_quarantine_and_what_vanishes_is_gone(store: Store) -> None:
    report = take_sbom(
        store, {"bom.json": bom([]), "bad.json": b'{"bomFormat": "CycloneDX", "components": ['}
    )
    assert (report.added, report.quarantined) == (1, 1)
    assert store.reasons("sboms@default") == [("bad.json", "not-json")]
    assert store.reasons() == []
    assert take_sbom(store, {"other.json": bom([])}, prune=True).vanished == 1
    assert [one.path for one in SqlSboms(store.engine).sboms("default")] == ["other.json"]


def test_each_tenant_sees_its_own_alone(shop: Store) -> None:
    take_sbom(shop, {"theirs.json": bom([("alpha", "1.0")])}, tenant="acme")
    apply(shop, {"p.yaml": overlay(ignoreRules=[rule("theirs")])}, tenant="acme")
    sboms, policies = SqlSboms(shop.engine), SqlPolicies(shop.engine)
    assert [one.path for one in sboms.sboms("default")] == ["bom.json"]
    assert [one.path for one in sboms.sboms("acme")] == ["theirs.json"]
    assert policies.overlays("default") == []
    assert [one.component for one in find(Request("acme"), tools(shop))] == ["pkg:pypi/alpha@1.0"]
    snapshot = take_snapshot("acme", policies, at=NOON).snapshot
    with pytest.raises(SnapshotNotFound):
        find_snapshot("default", snapshot.digest, policies)
    assert {line.source for line in shop.sources.status("default")[1]} == {"ghsa", "sboms@default"}


def test_exports_of_advisories_hold_nothing_of_tenants(shop: Store) -> None:
    before = shop.lines()
    apply(shop, {"p.yaml": overlay(ignoreRules=[rule("a")])})
    assert shop.lines() == before
    assert all(b'"source":"ghsa"' in line for line in before)


def test_people_cannot_name_a_source_as_that_of_a_tenant(store: Store) -> None:
    with pytest.raises(BadSourceName):
        store.take({"a.json": osv("GHSA-a")}, "sboms@default")


def test_a_finding_names_component_vulnerability_documents_and_ranges(shop: Store) -> None:
    (one,) = find(Request("default"), tools(shop))
    assert (one.sbom, one.component, one.vulnerability) == ("shop@1", "pkg:pypi/alpha@1.5", CVE)
    assert one.names == (CVE, "GHSA-cccc-cccc-cccc")
    (told,) = one.rules
    assert (told.source, told.key, told.range, told.fixed) == (
        "ghsa",
        "GHSA-cccc-cccc-cccc",
        "<2.0",
        ("2.0",),
    )
    assert told.digest == shop.one("GHSA-cccc-cccc-cccc").digest
    assert (one.status, one.because, one.verdict, one.applied) == ("open", (), None, ())


def test_ids_of_one_vulnerability_are_one_finding_with_both_documents(shop: Store) -> None:
    shop.take({"p.json": advisory("PYSEC-2024-1", "alpha", ("0", "3.0"), [CVE])}, "pypa", database="pypa")
    (one,) = find(Request("default"), tools(shop))
    assert [told.source for told in one.rules] == ["ghsa", "pypa"]


def test_a_withdrawn_advisory_is_no_finding_any_more_but_was_one_before(shop: Store) -> None:
    before = shop.sequence
    gone = {
        **advisory("GHSA-cccc-cccc-cccc", "alpha", ("0", "2.0"), [CVE]),
        "withdrawn": "2026-02-01T00:00:00Z",
    }
    shop.take({"a.json": gone}, "ghsa")
    assert find(Request("default"), tools(shop)) == []
    assert len(find(Request("default", sequence=before), tools(shop))) == 1


def test_the_consensus_of_vex_suppresses_and_says_who_decided(shop: Store) -> None:
    statement = {
        "vulnerability": {"name": "GHSA-cccc-cccc-cccc"},
        "status": "not_affected",
        "justification": "vulnerable_code_not_present",
        "products": [{"@id": "pkg:pypi/alpha@1.5"}],
    }
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "v",
        "author": "ACME",
        "timestamp": "2026-01-01T00:00:00Z",
        "statements": [statement],
    }
    shop.take({"v.json": document}, "vex", side=Side.VEX)
    (one,) = find(Request("default"), tools(shop))
    assert (one.status, one.because) == ("suppressed", ("vex: not_affected",))
    assert one.verdict is not None
    assert (one.verdict.issuer, one.verdict.source, one.verdict.key) == ("ACME", "vex", "v.json")
    silenced = overlay(vexIssuerWeights=[{"id": "w", "reason": "r", "issuer": "ACME", "weight": "0"}])
    apply(shop, {"p.yaml": silenced})
    snapshot = take_snapshot("default", SqlPolicies(shop.engine), at=NOON).snapshot
    (other,) = find(Request("default", snapshot=snapshot), tools(shop))
    assert (other.status, other.verdict) == ("open", None)


def test_statements_about_a_product_hold_for_the_parts_that_they_name(store: Store) -> None:
    store.take(
        {"a.json": advisory("GHSA-cccc-cccc-cccc", "alpha", ("0", "2.0"), [CVE])}, "ghsa", database="ghsa"
    )
    listed = bom([("alpha", "1.5"), ("beta", "1.0"), ("alpha", "1.0")])
    for each in listed["components"]:
        each["bom-ref"] = each["purl"]
    edge = {"ref": "pkg:pypi/beta@1.0", "dependsOn": ["pkg:pypi/alpha@1.5"]}
    take_sbom(store, {"bom.json": {**listed, "dependencies": [edge]}})
    part = {"@id": "pkg:pypi/beta", "subcomponents": [{"@id": "pkg:pypi/alpha"}]}
    said = {"vulnerability": {"name": CVE}, "status": "fixed", "products": [part]}
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "v",
        "author": "A",
        "timestamp": "2026-01-01T00:00:00Z",
    }
    store.take({"v.json": {**document, "statements": [said]}}, "vex", side=Side.VEX)
    told = {one.component: one.status for one in find(Request("default"), tools(store))}
    assert told == {"pkg:pypi/alpha@1.5": "suppressed", "pkg:pypi/alpha@1.0": "open"}


def test_policy_ignores_overrides_and_adds_and_each_finding_says_so(shop: Store) -> None:
    private = {"id": "ACME-2026-1", "summary": "ours", "affected": [
        {"package": {"ecosystem": "PyPI", "name": "beta"}, "versions": ["1.0"]}]}  # fmt: skip
    apply(
        shop,
        {
            "a.yaml": overlay("a", ignoreRules=[rule("ignored", expires="2026-03-02")]),
            "b.yaml": overlay(
                "b",
                severityOverrides=[{**rule("low"), "severity": "low"}],
                privateAdvisories=[{"id": "ours", "reason": "found in review", "advisory": private}],
            ),
        },
    )
    policies = SqlPolicies(shop.engine)
    snapshot = take_snapshot("default", policies, at=NOON).snapshot
    ours, ignored = sorted(
        find(Request("default", snapshot=snapshot), tools(shop)), key=lambda one: one.vulnerability
    )
    assert (ours.vulnerability, ours.component) == ("ACME-2026-1", "pkg:pypi/beta@1.0")
    assert (ours.rules[0].source, ours.rules[0].key) == ("policy", "ours")
    assert (ignored.status, ignored.because, ignored.severity) == ("suppressed", ("policy: ignored",), "LOW")
    assert [one.rule for one in ignored.applied] == ["ignored", "low"]
    later = take_snapshot("default", policies, at=NOON + timedelta(days=2)).snapshot
    assert {one.status for one in find(Request("default", snapshot=later), tools(shop))} == {"open"}
    again = find(
        Request("default", snapshot=find_snapshot("default", snapshot.digest, policies)), tools(shop)
    )
    assert {one.vulnerability for one in again if one.status == "suppressed"} == {CVE}


def test_with_an_allow_list_other_sources_do_not_count(shop: Store) -> None:
    apply(shop, {"p.yaml": overlay(sourceAllowLists=[{"id": "a", "reason": "r", "sources": ["pypa"]}])})
    snapshot = take_snapshot("default", SqlPolicies(shop.engine), at=NOON).snapshot
    assert find(Request("default", snapshot=snapshot), tools(shop)) == []


def test_one_mistake_in_any_overlay_applies_none(store: Store) -> None:
    good, bad = overlay("good", ignoreRules=[rule("a")]), overlay("bad", ignoreRules=[{"id": "b"}])
    with pytest.raises(BadOverlay) as refused:
        apply(store, {"good.yaml": good, "bad.yaml": bad})
    assert len(refused.value.details) == 2
    assert store.sequence == 0
    with pytest.raises(BadOverlay, match=r"is that of good\.yaml too"):
        apply(store, {"good.yaml": good, "same.yaml": good})
    apply(store, {"good.yaml": good})
    assert apply(store, {"good.yaml": good}).unchanged == 1
    assert apply(store, {"next.yaml": overlay("next")}, prune=True).vanished == 1
    assert [one.id for one in SqlPolicies(store.engine).overlays("default")] == ["next"]


def test_snapshots_are_found_by_digest_beginning_or_word(store: Store) -> None:
    policies = SqlPolicies(store.engine)
    assert find_snapshot("default", "latest", policies) == EMPTY
    apply(store, {"a.yaml": overlay(ignoreRules=[rule("a", expires="2026-03-01")])})
    first = take_snapshot("default", policies, at=NOON).snapshot
    second = take_snapshot("default", policies, at=datetime(2027, 1, 1, tzinfo=UTC))
    assert second.snapshot == EMPTY
    assert [rule.id for rule in second.expired] == ["a"]
    for wanted in (first.digest, first.digest[:20], first.digest.removeprefix("sha256:")[:8]):
        assert find_snapshot("default", wanted, policies) == first
    assert find_snapshot("default", "latest", policies) == EMPTY
    assert find_snapshot("default", "none", policies) == EMPTY
    for wanted in ("sha256:", "abc", "0" * 64):
        with pytest.raises(SnapshotNotFound):
            find_snapshot("default", wanted, policies)
    take_snapshot("default", policies, at=NOON)
    assert len(policies.snapshots("default")) == 2


def test_an_unknown_bill_of_materials_is_not_found(shop: Store) -> None:
    for wanted in ("shop@1", "bom.json", "shop@1#bom.json"):
        assert len(find(Request("default", wanted), tools(shop))) == 1
    with pytest.raises(SbomNotFound):
        find(Request("default", "nothing"), tools(shop))


def test_rows_of_components_are_made_again_from_the_evidence(shop: Store) -> None:
    before = [one.wire() for one in find(Request("default"), tools(shop))]
    with writing(shop.engine) as connection:
        for table in (sbom_component, sbom_document):
            connection.execute(table.delete())
        connection.exec_driver_sql(
            "UPDATE projection SET rebuilt_to = 0, rebuild_until = 100 WHERE name = 'sbom'"
        )
    assert find(Request("default"), tools(shop)) == []
    SqlProjections(shop.engine).complete()
    assert [one.wire() for one in find(Request("default"), tools(shop))] == before
