"""Stock Trivy with a database that a tenant's policy went into: the profile asks for it, and no other has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.running import Stella, osv, package, until
from tests.unit.cli.scanning import component, once, sbom, scan, vulnerabilities

LOW = "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"
ADVISORIES = [
    osv("GHSA-aaaa-aaaa-aaaa", package("npm", "left", *until("1.5.0")), aliases=["CVE-2026-1000"],
        severity=[{"type": "CVSS_V3", "score": LOW}]),
    osv("GHSA-bbbb-bbbb-bbbb", package("npm", "left", *until("2.0.0")), aliases=["CVE-2026-2000"]),
    osv("GHSA-cccc-cccc-cccc", package("npm", "right", *until("2.0.0")), aliases=["CVE-2026-2000"]),
    osv("GHSA-dddd-dddd-dddd", package("PyPI", "shop", *until("2.0.0")), aliases=["CVE-2026-3000"]),
]  # fmt: skip
POLICY = """\
apiVersion: stellaops.io/policy.v1
kind: PolicyOverlay
metadata: {name: ours}
spec:
  severityOverrides:
    - {id: worse, reason: it is exposed, match: {vulnerabilities: [GHSA-aaaa-aaaa-aaaa]}, severity: CRITICAL}
  ignoreRules:
    - {id: not-called, reason: never called, match: {vulnerabilities: [CVE-2026-2000], packages: [pkg:npm/left]}}
    - {id: over, reason: this one is over, expires: 2020-01-01, match: {vulnerabilities: [CVE-2026-3000]}}
  privateAdvisories:
    - id: mine
      reason: found by ourselves
      advisory:
        id: ACME-2026-1
        summary: Sessions never end
        severity: [{type: CVSS_V3, score: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]
        affected:
          - package: {ecosystem: npm, name: acme-core}
            ranges: [{type: ECOSYSTEM, events: [{introduced: "0"}, {fixed: "3.0.0"}]}]
"""
PROFILE = """\
apiVersion: stellaops.io/export.v1
kind: ExportProfile
metadata: {name: ours}
spec: {kind: trivy, variant: db, policySnapshotMode: required}
"""
COMPONENTS = [
    component("npm", "left", "1.0.0"), component("npm", "right", "1.0.0"), component("npm", "acme-core", "2.9.0"),
    component("npm", "acme-core", "3.0.0"), component("pypi", "shop", "1.0.0"),
]  # fmt: skip

Told = set[tuple[str, str, str, str]]


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    stella.take(place / "in", "ghsa", *ADVISORIES)
    (place / "profile.yaml").write_text(PROFILE, encoding="utf-8")
    stella("export", "profile", "create", str(place / "profile.yaml"))
    submit = ("export", "run", "submit", "--profile")
    stella.refused(2, "ERR_EXPORT_POLICY_SNAPSHOT_REQUIRED", *submit, "ours")
    (place / "policy.yaml").write_text(POLICY, encoding="utf-8")
    stella("policy", "apply", str(place / "policy.yaml"))
    taken = stella("policy", "snapshot")
    assert taken["expired"] == ["over"]
    for profile in ("ours", "trivy:db"):
        run = stella.submit(profile)
        assert run["policySnapshot"] == (taken["digest"] if profile == "ours" else None)
        bundle = stella.bundle(run) / "trivy" / "db.bundle"
        cache = str(place / profile.replace(":", "-"))
        stella("trivy", "import", str(bundle), "--cache-dir", cache)
        # The sentinels are chosen from what the database holds after the policy.
        assert stella("trivy", "smoke", str(bundle))["verdict"] == "ok"
    (place / "app.cdx.json").write_text(json.dumps(sbom(COMPONENTS)), encoding="utf-8")


@pytest.fixture(scope="session")
def made(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "scanned-with-policy", prepare)


def told(made: Path, trivy: Path, no_network: tuple[str, ...], cache: str) -> Told:
    report: dict[str, Any] = scan(no_network, trivy, made / cache, made / "app.cdx.json")
    return {
        (each["PkgName"], each["InstalledVersion"], each["VulnerabilityID"], each["Severity"])
        for each in vulnerabilities(report)
    }


def test_a_database_without_a_policy_tells_what_the_advisories_do(
    made: Path, trivy: Path, no_network: tuple[str, ...]
) -> None:
    assert told(made, trivy, no_network, "trivy-db") == {
        ("left", "1.0.0", "CVE-2026-1000", "LOW"),
        ("left", "1.0.0", "CVE-2026-2000", "UNKNOWN"),
        ("right", "1.0.0", "CVE-2026-2000", "UNKNOWN"),
        ("shop", "1.0.0", "CVE-2026-3000", "UNKNOWN"),
    }


def test_a_policy_overrides_ignores_and_adds(made: Path, trivy: Path, no_network: tuple[str, ...]) -> None:
    assert told(made, trivy, no_network, "ours") == {
        ("left", "1.0.0", "CVE-2026-1000", "CRITICAL"),
        ("right", "1.0.0", "CVE-2026-2000", "UNKNOWN"),
        ("acme-core", "2.9.0", "ACME-2026-1", "CRITICAL"),
        ("shop", "1.0.0", "CVE-2026-3000", "UNKNOWN"),
    }


def test_what_a_private_advisory_says_is_shown(made: Path, trivy: Path, no_network: tuple[str, ...]) -> None:
    report = scan(no_network, trivy, made / "ours", made / "app.cdx.json")
    (own,) = [each for each in vulnerabilities(report) if each["VulnerabilityID"] == "ACME-2026-1"]
    assert (own["FixedVersion"], own["Title"]) == ("3.0.0", "Sessions never end")


def test_findings_of_the_same_policy_agree_with_the_scan(
    made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    stella = Stella(made / "data").of_tenant("default")
    bill = json.loads((made / "app.cdx.json").read_bytes())
    bill["metadata"] = {"component": {"type": "application", "name": "app", "purl": "pkg:oci/app@1"}}
    (tmp_path / "app.cdx.json").write_text(json.dumps(bill), encoding="utf-8")
    stella("evidence", "sbom", "import", str(tmp_path / "app.cdx.json"))
    found = stella("evidence", "findings")["findings"]
    still_open = {
        (each["name"], each["version"], each["vulnerability"], each["severity"])
        for each in found
        if each["status"] == "open"
    }
    assert still_open == told(made, trivy, no_network, "ours")
