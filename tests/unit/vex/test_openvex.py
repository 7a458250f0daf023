"""OpenVEX in all its forms, from small documents about real vulnerabilities."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.advisories.canonical import Malformed
from stellaops.vex.documents.openvex import OpenVexFeed
from stellaops.vex.statement import Role, Status, VexDocument, Words

FEED = OpenVexFeed()
LOG4J = "CVE-2021-44228"


def document(*statements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://openvex.dev/docs/example/vex-1",
        "author": "Example Project",
        "role": "Document Creator",
        "timestamp": "2023-01-08T18:02:03.647787998-06:00",
        "version": 1,
        "statements": list(statements),
        **more,
    }


def statement(**more: Any) -> dict[str, Any]:
    return {
        "vulnerability": {"name": LOG4J},
        "products": [{"@id": "pkg:maven/org.example/app@1.0"}],
        "status": "affected",
        **more,
    }


def read(value: dict[str, Any]) -> VexDocument:
    found = FEED.read(FEED.canonical("x.json", json.dumps(value).encode()).parsed)
    assert found is not None
    return found


def test_a_document_of_0_2_0_is_read_with_subcomponents_and_identifiers() -> None:
    told = statement(
        vulnerability={"name": "GHSA-jfh8-c2jp-5v3q", "aliases": [LOG4J, "VU#930724"]},
        products=[
            {
                "@id": "https://example.org/app",
                "identifiers": {
                    "purl": "pkg:maven/org.example/app@1.0",
                    "cpe23": "cpe:2.3:a:example:app:1.0:*:*:*:*:*:*:*",
                },
                "hashes": {"sha-256": "ABCD"},
                "subcomponents": [{"@id": "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"}],
            }
        ],
        status="not_affected",
        justification="vulnerable_code_not_in_execute_path",
        impact_statement="JNDI is off",
        action_statement=None,
        timestamp="2023-02-01T00:00:00Z",
    )  # fmt: skip
    found = read(document(told))
    (only,) = found.statements
    (target,) = only.targets
    assert only.vulnerability == LOG4J
    assert (only.status, only.justification) == (Status.NOT_AFFECTED, "vulnerable_code_not_in_execute_path")
    assert only.words == Words("JNDI is off")
    assert only.stated is not None
    assert only.stated.isoformat() == "2023-02-01T00:00:00+00:00"
    assert target.product.identity == "pkg:maven/org.example/app@1.0"
    assert set(target.product.others) == {
        "https://example.org/app",
        "cpe:2.3:a:example:app:1.0:*:*:*:*:*:*:*",
        "sha-256:abcd",
    }
    assert [each.identity for each in target.subcomponents] == [
        "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"
    ]
    assert found.published == "2023-01-08T18:02:03.647787998-06:00"


def test_a_document_of_0_0_1_names_vulnerability_and_products_by_texts() -> None:
    told = {
        "vulnerability": LOG4J,
        "products": ["pkg:apk/wolfi/git@2.39.0-r1?arch=armv7", "pkg:apk/wolfi/git@2.39.0-r1?arch=x86_64"],
        "subcomponents": ["pkg:apk/wolfi/zlib"],
        "status": "fixed",
    }
    found = read(document(told, **{"@context": "https://openvex.dev/ns", "version": "1"}))
    (only,) = found.statements
    assert only.vulnerability == LOG4J
    assert [target.product.identity for target in only.targets] == told["products"]
    assert {target.subcomponents[0].identity for target in only.targets} == {"pkg:apk/wolfi/zlib"}
    assert only.stated is None


def test_yaml_is_read_like_json() -> None:
    raw = b"""
author: Chainguard
role: vendor
timestamp: "2022-08-29T17:48:53.697543267-05:00"
statements:
  - vulnerability: {name: CVE-2022-31030, aliases: [DSA-5162]}
    status: not_affected
    justification: vulnerable_code_not_in_execute_path
"""
    assert FEED.recognises("vex.yaml", raw)
    found = FEED.read(FEED.canonical("vex.yaml", raw).parsed)
    assert found is not None
    assert found.issuer.role is Role.SUPPLIER
    assert [(each.vulnerability, each.targets) for each in found.statements] == [("CVE-2022-31030", ())]


@pytest.mark.parametrize(
    "name",
    [
        {"@id": "https://nvd.nist.gov/vuln/detail/cve-2021-44228"},
        {"name": " cve-2021-44228 "},
        "CVE-2021-44228",
    ],
)
def test_a_vulnerability_may_be_named_by_its_address_or_in_small_letters(name: Any) -> None:
    assert read(document(statement(vulnerability=name))).statements[0].vulnerability == LOG4J


def test_a_name_with_several_cves_among_its_aliases_stays_itself() -> None:
    told = statement(vulnerability={"name": "SUSE-SU-2024:1", "aliases": ["CVE-2024-1086", LOG4J]})
    assert read(document(told)).statements[0].vulnerability == "SUSE-SU-2024:1"


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (statement(status="safe"), "status"),
        (statement(status=["fixed"]), "status"),
        ({"vulnerability": LOG4J}, "status"),
        (statement(vulnerability={}), "no name"),
        ("not an object", "no object"),
    ],
)
def test_a_statement_that_says_nothing_is_refused_with_its_number(broken: Any, what: str) -> None:
    with pytest.raises(Malformed, match=rf"statement 2.*{what}"):
        read(document(statement(), broken))


@pytest.mark.parametrize("path", ["index.json", "pkg/vex-repository.json", "x.txt", ".hidden.json"])
def test_files_that_describe_a_repository_are_no_documents(path: str) -> None:
    assert not FEED.may_hold_documents(path)


@pytest.mark.parametrize("value", [{}, {"statements": 1}, {"statements": [{"a": 1}]}, [], {"Sources": []}])
def test_other_json_is_ignored(value: Any) -> None:
    assert FEED.read(value) is None
