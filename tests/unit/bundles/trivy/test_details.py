"""Which of several documents gives what a vulnerability's entry says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stellaops.bundles.trivy.values import Detail, vulnerability_value, with_custom

CVE, GHSA = "CVE-2021-44228", "GHSA-jfh8-c2jp-5v3q"


def entry(vulnerability: str, *details: tuple[str, Detail]) -> dict[str, Any]:
    value = json.loads(vulnerability_value(vulnerability, details))
    assert isinstance(value, dict)
    return value


def dated(published: str | None, modified: str | None) -> Detail:
    return Detail(published=published, modified=modified)


@pytest.mark.parametrize(
    ("vulnerability", "published", "modified"), [(CVE, "2022", "2023"), (GHSA, "2024", "2025")]
)
def test_the_dates_of_a_cve_are_the_nvds_and_those_of_a_ghsa_id_githubs(
    vulnerability: str, published: str, modified: str
) -> None:
    told = [
        ("debian", dated("2020", "2021")),
        ("nvd", dated("2022", "2023")),
        ("ghsa", dated("2024", "2025")),
    ]
    found = entry(vulnerability, *told)
    assert (found["PublishedDate"], found["LastModifiedDate"]) == (published, modified)


def test_dates_of_two_documents_are_never_mixed() -> None:
    found = entry(CVE, ("debian", Detail()), ("cve", dated("2020", None)), ("ghsa", dated("2021", "2022")))
    assert found["PublishedDate"] == "2020"
    assert "LastModifiedDate" not in found


def test_each_source_has_its_severity_and_the_first_gives_the_entrys() -> None:
    found = entry(
        CVE,
        ("nvd", Detail(description="NVD's")),
        ("cve", Detail(title="CNA's", scores={"V3": ("CVSS:3.1/x", 75), "V40": ("CVSS:4.0/x", 93)})),
        ("ghsa", Detail(title="GitHub's", description="GitHub's", severity=2, cwe_ids=["CWE-20"])),
    )
    assert found["VendorSeverity"] == {"cve": 4, "ghsa": 2}
    assert found["Severity"] == "CRITICAL"
    assert (found["Title"], found["Description"], found["CweIDs"]) == ("CNA's", "NVD's", ["CWE-20"])


def test_marks_join_an_advisory_in_the_order_of_names() -> None:
    value = b'{"AffectedVersion":"1","FixedVersion":"2"}'
    assert (
        with_custom(value, b'{"a":0.10}') == b'{"AffectedVersion":"1","Custom":{"a":0.10},"FixedVersion":"2"}'
    )
    assert with_custom(b"{}", b"{}") == b'{"Custom":{}}'
