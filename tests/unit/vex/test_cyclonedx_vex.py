"""CycloneDX documents with analysed vulnerabilities, as JSON and XML."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.advisories.canonical import MAX_DEPTH, MAX_NODES, Malformed
from stellaops.vex.documents.cyclonedx import CycloneDxFeed
from stellaops.vex.statement import Role, Status, VexDocument

FEED = CycloneDxFeed()
JACKSON = "CVE-2020-25649"


def bom(*vulnerabilities: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.4",
        "metadata": {"timestamp": "2022-01-13T00:00:00Z", "supplier": {"name": "Acme"}},
        "components": [
            {"bom-ref": "jackson", "name": "jackson-databind", "version": "2.10.0",
             "purl": "pkg:maven/com.fasterxml.jackson.core/jackson-databind@2.10.0",
             "components": [{"bom-ref": "inner", "group": "acme", "name": "inner", "version": "1"}]},
        ],
        "vulnerabilities": list(vulnerabilities),
        **more,
    }  # fmt: skip


def told(state: str = "not_affected", **more: Any) -> dict[str, Any]:
    return {"id": JACKSON, "analysis": {"state": state}, "affects": [{"ref": "jackson"}], **more}


def read(value: dict[str, Any]) -> VexDocument:
    found = FEED.read(FEED.canonical("vex.json", json.dumps(value).encode()).parsed)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("exploitable", Status.AFFECTED),
        ("in_triage", Status.UNDER_INVESTIGATION),
        ("resolved", Status.FIXED),
        ("resolved_with_pedigree", Status.FIXED),
        ("not_affected", Status.NOT_AFFECTED),
        ("false_positive", Status.NOT_AFFECTED),
    ],
)
def test_states_of_an_analysis_are_statuses(state: str, status: Status) -> None:
    (only,) = read(bom(told(state))).statements
    assert (only.vulnerability, only.status) == (JACKSON, status)
    assert only.targets[0].product.package == "pkg:maven/com.fasterxml.jackson.core/jackson-databind"


def test_references_may_be_nested_linked_or_unknown() -> None:
    link = "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#pkg%3Anpm%2Fleft-pad%401.3.0"
    plain = "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#left-pad"
    references = [{"ref": "inner"}, {"ref": link}, {"ref": plain}, {"ref": "acme-product"}]
    (only,) = read(bom(told(affects=references))).statements
    assert [target.product.identity for target in only.targets] == [
        "acme/inner@1",
        "pkg:npm/left-pad@1.3.0",
        plain,
        "acme-product",
    ]


def test_each_version_has_the_status_that_stands_beside_it() -> None:
    versions = [
        {"version": "2.4", "status": "unaffected"},
        {"range": "vers:semver/<2.4", "status": "affected"},
    ]
    found = read(bom(told("exploitable", affects=[{"ref": "urn:cdx:1/1#acme", "versions": versions}])))
    assert [(each.status, each.targets[0].product.identity) for each in found.statements] == [
        (Status.NOT_AFFECTED, "urn:cdx:1/1#acme@2.4"),
        (Status.AFFECTED, "urn:cdx:1/1#acme vers:semver/<2.4"),
    ]


def test_justifications_come_in_the_words_of_openvex_and_the_own_word_is_kept() -> None:
    analysis = {"state": "not_affected", "justification": "code_not_reachable", "detail": "never called"}
    (only,) = read(bom(told(analysis=analysis))).statements
    assert only.justification == "vulnerable_code_not_in_execute_path"
    assert (only.words.impact, only.words.notes) == ("never called", "justification: code_not_reachable")


def test_a_vulnerability_that_nobody_analysed_is_no_statement() -> None:
    assert read(bom({"id": JACKSON, "affects": [{"ref": "jackson"}]})).statements == ()


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(Malformed, match=r"vulnerability 1: analysis\.state"):
        read(bom(told("fine")))


def test_a_bill_of_materials_without_vulnerabilities_says_nothing_of_them() -> None:
    value = bom()
    del value["vulnerabilities"]
    assert FEED.read(value) is None


XML = """<?xml version="1.0"?>
<bom xmlns="http://cyclonedx.org/schema/bom/1.4" serialNumber="urn:uuid:1" version="1">
  <metadata><timestamp>2022-01-13T00:00:00Z</timestamp><supplier><name>Acme</name></supplier></metadata>
  <components><component type="library" bom-ref="jackson"><name>jackson-databind</name><version>2.10.0</version>
    <hashes><hash alg="SHA-256">AB</hash></hashes>
    <purl>pkg:maven/com.fasterxml.jackson.core/jackson-databind@2.10.0</purl></component></components>
  <vulnerabilities><vulnerability bom-ref="v">
    <id>SNYK-1</id>
    <references><reference><id>CVE-2020-25649</id><source><name>NVD</name></source></reference></references>
    <analysis><state>not_affected</state><justification>code_not_reachable</justification>
      <responses><response>will_not_fix</response><response>update</response></responses>
      <detail>never called</detail></analysis>
    <affects><target><ref>jackson</ref><versions>
      <version><version>2.10.0</version><status>unaffected</status></version></versions></target></affects>
  </vulnerability></vulnerabilities>
</bom>"""


def test_xml_says_the_same_as_json() -> None:
    assert FEED.recognises("vex.xml", XML.encode())
    canonical = FEED.canonical("vex.xml", XML.encode())
    assert canonical.verbatim
    found = FEED.read(canonical.parsed)
    assert found is not None
    (only,) = found.statements
    assert (found.issuer.name, found.issuer.role, found.id) == ("Acme", Role.SUPPLIER, "urn:uuid:1")
    assert (only.vulnerability, only.status) == (JACKSON, Status.NOT_AFFECTED)
    assert only.justification == "vulnerable_code_not_in_execute_path"
    assert (only.words.impact, only.words.action) == ("never called", "will_not_fix, update")
    assert only.targets[0].product.identity == "pkg:maven/com.fasterxml.jackson.core/jackson-databind@2.10.0"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"<!DOCTYPE bom [<!ENTITY a \"b\">]><bom>&a;</bom>", "xml-declarations"),
        (b'<!DOCTYPE bom SYSTEM "file:///etc/passwd"><bom/>', "xml-declarations"),
        (b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1), "too-deep"),
        (b"<a>" + b"<b/>" * MAX_NODES + b"</a>", "too-many-nodes"),
        (b"<a>", "not-xml"),
        (b"", "not-xml"),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "not-xml"),
    ],
    ids=["entity", "external", "deep", "large", "cut off", "empty", "encoding"],
)  # fmt: skip
def test_hostile_xml_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        FEED.canonical("vex.xml", raw)
    assert caught.value.reason == reason


def test_xml_of_another_kind_is_ignored() -> None:
    assert FEED.read(FEED.canonical("x.xml", b"<html/>").parsed) is None
