"""The CSAF feed: what its documents mean as advisories."""

from __future__ import annotations

from typing import Any

import pytest

from stellaops.advisories import advisory as fields
from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory
from stellaops.advisories.documents.csaf import CsafFeed
from stellaops.advisories.packages import purls
from stellaops.advisories.severity import Severity
from stellaops.bundles.trivy.projection import project
from stellaops.bundles.trivy.values import decode_detail
from tests.contract.feed_samples import csaf as samples

FEED = CsafFeed()
CRITICAL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


def read(*vulnerabilities: dict[str, Any], tree: dict[str, Any] | None = None, **parts: Any) -> Advisory:
    told: dict[str, Any] = {
        "title": "Example advisory",
        "tracking": {"id": "EX-1", "status": "final", "current_release_date": "2024-05-01T10:00:00.000+02:00",
                     "initial_release_date": "2024-04-01T00:00:00Z"},
        "references": [{"category": "self", "url": "https://psirt.example.com/ex-1"},
                       {"category": "external", "url": "https://example.com/practices"}],
    }  # fmt: skip
    value = {"document": told | parts, "product_tree": tree or {}, "vulnerabilities": list(vulnerabilities)}
    advisory = FEED.read(value)
    assert advisory is not None
    return advisory


def sample(path: str) -> Advisory:
    content = samples.SAMPLE[path]
    assert isinstance(content, bytes)
    advisory = FEED.read(FEED.canonical(path, content).parsed)
    assert advisory is not None
    return advisory


def test_each_vulnerability_is_a_part_with_its_own_severity_and_packages() -> None:
    advisory = sample("clear/2021/example-2021-0001.json")
    assert advisory.parts is not None
    first, second = advisory.parts
    assert (first.id, first.aliases, second.id) == (
        "CVE-2021-44228",
        ["GHSA-jfh8-c2jp-5v3q"],
        "CVE-2021-45046",
    )
    assert fields.assess(first).highest is Severity.CRITICAL
    assert fields.assess(second).highest is Severity.UNKNOWN
    assert fields.cwe_ids(first) == ["CWE-502"]
    assert purls(first) == ["pkg:maven/org.apache.logging.log4j/log4j-core"]
    assert purls(second) == []


def test_the_document_as_a_whole_is_found_by_all_its_names_and_has_the_highest_severity() -> None:
    advisory = sample("clear/2021/example-2021-0001.json")
    assert advisory.id == "EXAMPLE-2021-0001"
    assert fields.all_aliases(advisory) == ["CVE-2021-44228", "GHSA-jfh8-c2jp-5v3q", "CVE-2021-45046"]
    assert fields.assess(advisory).highest is Severity.CRITICAL
    assert purls(advisory) == ["pkg:maven/org.apache.logging.log4j/log4j-core"]
    assert advisory.tlp == "CLEAR"


def test_a_title_that_only_repeats_the_cve_gives_way_to_the_documents() -> None:
    assert [part.summary for part in sample("white/2024/icsa-24-046-06.json").parts or ()] == [
        "Siemens Unicam FX"
    ]
    assert [part.summary for part in read({"cve": "CVE-2024-1", "title": "A flaw"}).parts or ()] == ["A flaw"]


def test_a_number_of_a_vendors_own_system_is_no_alias() -> None:
    ids = [
        {"system_name": "Red Hat Bugzilla ID", "text": "2158081"},
        {"system_name": "VDE", "text": "VDE-2024-001"},
    ]
    assert fields.all_aliases(read({"ids": ids})) == ["VDE-2024-001"]
    assert fields.all_aliases(read({"ids": ids[:1]})) == []


def test_instants_and_the_withdrawal_are_those_of_the_tracking() -> None:
    advisory = read({"cve": "CVE-2024-1", "release_date": "2024-03-01T00:00:00Z"})
    assert (advisory.published, advisory.modified) == (
        "2024-04-01T00:00:00Z",
        "2024-05-01T10:00:00.000+02:00",
    )
    assert advisory.withdrawn is None
    assert [part.published for part in advisory.parts or ()] == ["2024-03-01T00:00:00Z"]
    withdrawn = read({"cve": "CVE-2024-1"}, category="csaf_withdrawn")
    assert withdrawn.withdrawn == "2024-05-01T10:00:00.000+02:00"
    assert read(tracking={"id": "X", "status": "deleted"}).withdrawn == "deleted"


@pytest.mark.parametrize(
    ("vulnerability", "aggregate", "severity"),
    [
        ({"scores": [{"cvss_v3": {"vectorString": CRITICAL}}]}, "", Severity.CRITICAL),
        ({"scores": [{"cvss_v3": {"baseSeverity": "HIGH"}}]}, "", Severity.HIGH),
        ({"threats": [{"category": "impact", "details": "Moderate"}]}, "", Severity.MEDIUM),
        ({"threats": [{"category": "impact", "details": "Low"}, {"category": "impact", "details": "Important"}]}, "",
         Severity.HIGH),
        ({"threats": [{"category": "exploit_status", "details": "Critical"}]}, "", Severity.UNKNOWN),
        ({"threats": [{"category": "impact", "details": "Someone may read your mail"}]}, "Low", Severity.LOW),
        ({}, "important", Severity.HIGH),
        ({}, "purple", Severity.UNKNOWN),
        ({"metrics": [{"content": {"qualitative_severity_rating": "low"}}]}, "", Severity.LOW),
    ],
)  # fmt: skip
def test_severity_is_read_wherever_it_stands(
    vulnerability: dict[str, Any], aggregate: str, severity: Severity
) -> None:
    (part,) = fields.parts(
        read({"cve": "CVE-2024-1"} | vulnerability, aggregate_severity={"text": aggregate})
    )
    assert fields.assess(part).highest is severity


def test_the_word_for_a_document_of_several_vulnerabilities_is_no_word_for_each() -> None:
    advisory = read({"cve": "CVE-2024-1"}, {"cve": "CVE-2024-2"}, aggregate_severity={"text": "Critical"})
    assert [fields.assess(part).highest for part in advisory.parts or ()] == [Severity.UNKNOWN] * 2
    assert fields.assess(advisory).highest is Severity.CRITICAL


def test_packages_that_are_not_affected_are_not_named() -> None:
    names = {
        "A": "pkg:rpm/redhat/curl@7.61.1?arch=x86_64",
        "B": "pkg:npm/%40angular/core@1",
        "C": "pkg:npm/c@1",
    }
    tree = {"full_product_names": [
        {"name": name, "product_id": name, "product_identification_helper": {"purl": purl}}
        for name, purl in names.items()
    ]}  # fmt: skip
    status = {"fixed": ["A"], "first_affected": ["B"], "known_not_affected": ["C"]}
    assert purls(read({"cve": "CVE-2024-1", "product_status": status}, tree=tree)) == [
        "pkg:npm/%40angular/core", "pkg:rpm/redhat/curl",
    ]  # fmt: skip


@pytest.mark.parametrize("name", [each.name for each in databases.DATABASES if "csaf" in each.feeds])
def test_trivy_gets_details_of_vulnerabilities_and_no_rows_of_packages(name: str) -> None:
    database = databases.get(name)
    assert database is not None
    advisory = sample("clear/2021/example-2021-0001.json")
    projection = project(advisory, database, fields.assess(advisory))
    assert projection.advisories == ()
    assert projection.vulnerabilities == ("CVE-2021-44228", "CVE-2021-45046")
    detail = decode_detail(projection.details[0].value)
    assert (detail.title, detail.severity, detail.has_rows) == ("Log4Shell in Example Server", 4, False)
    assert detail.scores["V3"][1] == 100


def test_a_part_links_to_its_own_references_and_to_the_document_only() -> None:
    advisory = read(
        {"cve": "CVE-2024-1", "references": [{"url": "https://www.cve.org/CVERecord?id=CVE-2024-1"}]}
    )
    (part,) = fields.parts(advisory)
    assert [reference.url for reference in part.references or ()] == [
        "https://www.cve.org/CVERecord?id=CVE-2024-1", "https://psirt.example.com/ex-1",
    ]  # fmt: skip
    assert len(advisory.references or ()) == 2


@pytest.mark.parametrize(
    ("namespaces", "name"),
    [
        (["https://www.cisa.gov/"] * 9 + ["https://www.siemens.com"], "cisa"),
        (["https://www.cisa.gov", "https://www.cisa.gov/"], "cisa"),
        (["https://www.redhat.com"], "redhat"),
        (["https://www.suse.com/"], "suse"),
        (["https://www.siemens.com"], "siemens"),
        (["https://www.cisco.com"], "cisco"),
        (["https://fortiguard.fortinet.com"], "fortinet"),
        (["https://www.openeuler.org"], "openeuler"),
        (["https://www.oracle.com"], "oracle"),
        (["www.oracle.com"], "oracle"),
        (["https://notcisa.gov.example"], "csaf"),
        (["https://evilcisa.gov"], "csaf"),
        (["https://www.cisa.gov", "https://www.siemens.com"], "csaf"),
        (["https://[bad"], "csaf"),
        ([], "csaf"),
    ],
)
def test_the_publisher_tells_the_database(namespaces: list[str], name: str) -> None:
    assert databases.tell([("X-1", [])], "csaf", namespaces).name == name
