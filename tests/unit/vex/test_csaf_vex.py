"""CSAF documents read for what they say of products."""

from __future__ import annotations

from typing import Any

from stellaops.vex.documents.csaf import CsafVexFeed
from stellaops.vex.statement import Role, Statement, Status, VexDocument

FEED = CsafVexFeed()
OPENSSL = "pkg:rpm/redhat/openssl@3.0.7-18.el9_2?arch=x86_64"
RHEL = "cpe:/o:redhat:enterprise_linux:9::baseos"


def document(vulnerability: dict[str, Any], **tracking: Any) -> dict[str, Any]:
    return {
        "document": {
            "category": "csaf_vex",
            "csaf_version": "2.0",
            "publisher": {"category": "vendor", "name": "Red Hat Product Security",
                          "namespace": "https://www.redhat.com"},
            "title": "openssl",
            "tracking": {"id": "CVE-2023-5363", "status": "final",
                         "current_release_date": "2024-01-02T00:00:00Z", **tracking},
        },
        "product_tree": {
            "branches": [
                {"category": "product_name", "name": "RHEL 9", "product": {
                    "product_id": "BaseOS", "name": "RHEL 9", "product_identification_helper": {"cpe": RHEL}}},
                {"category": "product_version", "name": "openssl", "product": {
                    "product_id": "openssl", "name": "openssl", "product_identification_helper": {"purl": OPENSSL}}},
            ],
            "full_product_names": [{"product_id": "nss", "name": "nss without a helper"}],
            "relationships": [{"category": "default_component_of", "product_reference": "openssl",
                               "relates_to_product_reference": "BaseOS",
                               "full_product_name": {"product_id": "BaseOS:openssl", "name": "openssl in RHEL 9"}}],
            "product_groups": [{"group_id": "all", "product_ids": ["BaseOS:openssl", "nss"]}],
        },
        "vulnerabilities": [vulnerability],
    }  # fmt: skip


def read(value: dict[str, Any]) -> VexDocument:
    found = FEED.read(value)
    assert found is not None
    return found


def by_status(found: VexDocument) -> dict[Status, Statement]:
    return {each.status: each for each in found.statements}


def test_a_component_is_stated_for_the_platform_that_it_is_part_of() -> None:
    told = read(document({"cve": "CVE-2023-5363", "product_status": {"fixed": ["BaseOS:openssl"]}}))
    (only,) = told.statements
    (target,) = only.targets
    assert (only.vulnerability, only.status) == ("CVE-2023-5363", Status.FIXED)
    assert (target.product.package, target.platform) == ("pkg:rpm/redhat/openssl", RHEL)
    assert (told.issuer.name, told.issuer.role) == ("Red Hat Product Security", Role.SUPPLIER)


def test_flags_threats_and_remediations_reach_products_through_groups() -> None:
    vulnerability = {
        "cve": "CVE-2023-5363",
        "product_status": {"known_not_affected": ["BaseOS:openssl"], "known_affected": ["nss"]},
        "flags": [{"label": "component_not_present", "group_ids": ["all"], "date": "2024-01-01T00:00:00Z"}],
        "threats": [
            {"category": "impact", "details": "cannot be reached", "product_ids": ["BaseOS:openssl"]}
        ],
        "remediations": [{"category": "vendor_fix", "details": "update", "group_ids": ["all"]}],
    }
    found = by_status(read(document(vulnerability)))
    not_affected, affected = found[Status.NOT_AFFECTED], found[Status.AFFECTED]
    assert (not_affected.justification, not_affected.words.impact) == (
        "component_not_present",
        "cannot be reached",
    )
    assert not_affected.stated is not None
    assert (affected.justification, affected.words.action) == ("", "update")
    assert affected.targets[0].product.identity == "nss without a helper"


def test_a_withdrawn_stub_is_a_document_without_statements() -> None:
    stub = {"document": {"tracking": {"id": "CVE-2023-0030", "status": "deleted"}}}
    found = read(stub)
    assert found.withdrawn == "deleted"
    assert found.statements == ()


def test_a_cve_record_beside_the_documents_is_none() -> None:
    record = {"dataType": "CVE_RECORD", "cveMetadata": {"cveId": "CVE-2023-5363"}}
    assert FEED.read(record) is None


def test_products_that_nothing_defines_keep_their_id() -> None:
    found = read(document({"cve": "CVE-2023-5363", "product_status": {"under_investigation": ["nowhere"]}}))
    assert found.statements[0].targets[0].product.identity == "nowhere"
