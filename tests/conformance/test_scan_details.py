"""What stock Trivy shows of vulnerabilities whose details come from several sources."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.cves import (
    V31,
    V31_MEDIUM,
    V40,
    catalogue,
    cisa,
    cve,
    cvss,
    epss,
    known,
    nvd,
    nvd_metric,
    page,
)
from tests.unit.cli.running import Stella, osv, package, until
from tests.unit.cli.scanning import component, once, sbom, scan, vulnerabilities

PIP, GO, DEB, DEB_OWN, ADP, REJECTED = (f"CVE-2026-{number}" for number in range(20001, 20007))
CRITICAL = {"cvssMetricV31": [nvd_metric(V31, 9.8, "CRITICAL")]}
KEV = {"dateAdded": "2026-01-02", "dueDate": "2026-01-23", "knownRansomwareCampaignUse": "Unknown"}


def advisories(stella: Stella, place: Path) -> None:
    """Packages: a GitHub advisory with its own word, a Go one with none, Debian's with and without a word."""
    stella.take(
        place / "ghsa", "ghsa",
        osv("GHSA-aaaa-bbbb-cccc", package("PyPI", "left", *until("2.0.0")), aliases=[PIP],
            database_specific={"severity": "MODERATE"}, published="2026-01-05T00:00:00Z"),
        osv("GHSA-aaaa-bbbb-dddd", package("PyPI", "unscored", *until("2.0.0")), aliases=[ADP]),
        osv("GHSA-aaaa-bbbb-ffff", package("PyPI", "void", *until("2.0.0")), aliases=[REJECTED]),
    )  # fmt: skip
    stella.take(
        place / "go",
        "govuln",
        osv("GO-2026-0001", package("Go", "example.org/right", *until("2.0.0")), aliases=[GO]),
    )
    urgent = {"ecosystem_specific": {"urgency": "low"}}
    stella.take(
        place / "debian", "debian",
        osv("DSA-1-1", package("Debian:12", "tool", *until("2.0-1")), aliases=[DEB]),
        osv("DSA-2-1", package("Debian:12", "tool", *until("2.0-1"), **urgent), aliases=[DEB_OWN]),
    )  # fmt: skip
    for family, bucket in (("alpine", "Alpine:v3.20"), ("almalinux", "AlmaLinux:9")):
        fix = {"alpine": "2.0-r1", "almalinux": "2.0-1.el9"}[family]
        document = osv(f"TEST-{family}", package(bucket, "tool", *until(fix)), aliases=[PIP], summary="")
        stella.take(place / family, family, document, more=("--database", family))


def details(stella: Stella, place: Path) -> None:
    """What the NVD, the CVE list, CISA and EPSS say of them."""
    low = {"cvssMetricV31": [nvd_metric(V31_MEDIUM, 6.1, "MEDIUM")]}
    files: Mapping[str, tuple[str, bytes]] = {
        "nvd": ("page.json", page(nvd(PIP, CRITICAL), nvd(GO, CRITICAL), nvd(DEB, CRITICAL), nvd(DEB_OWN, low),
                                  nvd("CVE-2026-29999", CRITICAL))),
        "cve": ("lines.jsonl", b"\n".join(json.dumps(each).encode() for each in (
            cve(ADP, cisa(cvss(V31, 9.8, "CRITICAL")), title="What the CNA calls it",
                metrics=[cvss(V40, 6.9, "MEDIUM", "cvssV4_0")]),
            cve(REJECTED, state="REJECTED"),
        ))),
        "kev": ("kev.json", catalogue("2026-01-03T00:00:00Z", known(PIP, **KEV), known(DEB, **KEV))),
        "epss": ("epss.csv", epss("2026-01-03", {PIP: ("0.94441", "0.99984"), GO: ("0.00043", "0.1")})),
    }  # fmt: skip
    for source, (name, content) in files.items():
        (place / source).mkdir()
        (place / source / name).write_bytes(content)
        report = stella("concelier", "import", str(place / source), "--source", source)
        assert (report["feed"], report["quarantined"]) == (source, 0)


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    advisories(stella, place)
    details(stella, place)
    run = stella.submit("trivy:db")
    stella(
        "trivy",
        "import",
        str(stella.bundle(run) / "trivy" / "db.bundle"),
        "--cache-dir",
        str(place / "cache"),
    )


@pytest.fixture(scope="session")
def made(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "scanned-details", prepare)


Find = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def find(made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path) -> Find:
    """What Trivy reports of components, by vulnerability."""

    def found(
        *components: dict[str, Any], system: tuple[str, str] | None = None, more: tuple[str, ...] = ()
    ) -> dict[str, dict[str, Any]]:
        target = tmp_path / "bom.cdx.json"
        target.write_text(json.dumps(sbom(components, system)), encoding="utf-8")
        report = scan(no_network, trivy, made / "cache", target, *more)
        return {one["VulnerabilityID"]: one for one in vulnerabilities(report)}

    return found


def severity(found: Mapping[str, Any]) -> tuple[str, str | None]:
    return found["Severity"], found.get("SeveritySource")


def test_a_github_advisory_has_githubs_severity_and_the_nvds_description_and_dates(find: Find) -> None:
    found = find(component("pypi", "left", "1.0.0"))[PIP]
    assert severity(found) == ("MEDIUM", "ghsa")
    assert found["VendorSeverity"] == {"ghsa": 2, "nvd": 4}
    assert found["CVSS"] == {"nvd": {"V3Vector": V31, "V3Score": 9.8}}
    assert found["Title"] == "about GHSA-aaaa-bbbb-cccc"
    assert found["Description"] == f"The NVD on {PIP}."
    assert found["CweIDs"] == ["CWE-200"]
    assert found["References"] == [f"https://nvd.example/{PIP}"]
    assert found["PublishedDate"] == "2023-05-26T18:15:14.147Z"
    assert found["LastModifiedDate"] == "2023-09-17T09:15:12.267Z"


def test_the_nvd_can_be_asked_for_instead(find: Find) -> None:
    found = find(component("pypi", "left", "1.0.0"), more=("--vuln-severity-source", "nvd"))
    assert severity(found[PIP]) == ("CRITICAL", "nvd")


def test_a_go_advisory_without_a_severity_has_the_nvds(find: Find) -> None:
    found = find(component("golang", "example.org/right", "v1.0.0", name="example.org/right"))[GO]
    assert severity(found) == ("CRITICAL", "nvd")
    assert found["DataSource"]["ID"] == "govulndb"


def test_a_debian_package_has_debians_severity_or_else_the_nvds(find: Find) -> None:
    found = find(component("deb", "debian/tool", "1.0-1"), system=("debian", "12.4"))
    assert severity(found[DEB]) == ("CRITICAL", "nvd")
    assert severity(found[DEB_OWN]) == ("LOW", "debian")


def test_scores_of_the_cve_list_are_not_taken_for_the_nvds(find: Find) -> None:
    found = find(component("pypi", "unscored", "1.0.0"))[ADP]
    assert severity(found) == ("MEDIUM", None)
    assert found["VendorSeverity"] == {"cisa-adp": 4, "cve": 2}
    assert found["CVSS"] == {
        "cisa-adp": {"V3Vector": V31, "V3Score": 9.8},
        "cve": {"V40Vector": V40, "V40Score": 6.9},
    }
    assert found["Title"] == "What the CNA calls it"


def test_a_rejected_id_is_not_reported(find: Find) -> None:
    assert find(component("pypi", "void", "1.0.0"), component("pypi", "left", "1.0.0")).keys() == {PIP}


MARKED = {
    "a language package": (component("pypi", "left", "1.0.0"), None),
    "an Alpine package": (component("apk", "alpine/tool", "1.0-r0"), ("alpine", "3.20.1")),
    "an AlmaLinux package": (component("rpm", "alma/tool", "1.0-1.el9"), ("alma", "9.2")),
}


@pytest.mark.parametrize("what", MARKED)
def test_marks_of_kev_and_epss_stand_in_the_json_report(what: str, find: Find) -> None:
    part, system = MARKED[what]
    assert find(part, system=system)[PIP]["Custom"] == {
        "epss": {"date": "2026-01-03", "percentile": 0.99984, "score": 0.94441},
        "kev": KEV,
    }


def test_each_mark_stands_by_itself(find: Find) -> None:
    assert find(component("golang", "example.org/right", "v1.0.0", name="example.org/right"))[GO][
        "Custom"
    ].keys() == {"epss"}
    found = find(component("deb", "debian/tool", "1.0-1"), system=("debian", "12.4"))
    assert found[DEB]["Custom"] == {"kev": KEV}
    assert "Custom" not in found[DEB_OWN]


def test_templates_of_trivy_see_the_marks_of_the_vulnerability_too(
    made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "bom.cdx.json").write_text(
        json.dumps(sbom([component("pypi", "left", "1.0.0")])), encoding="utf-8"
    )
    template = (
        "{{ range . }}{{ range .Vulnerabilities }}{{ .Vulnerability.Custom.kev.dateAdded }}{{ end }}{{ end }}"
    )
    done = subprocess.run(
        [*no_network, str(trivy), "sbom", "--cache-dir", str(made / "cache"), "--skip-db-update", "--offline-scan",
         "--skip-version-check", "--disable-telemetry", "--quiet", "--format", "template", "--template", template,
         str(tmp_path / "bom.cdx.json")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "2026-01-02"
