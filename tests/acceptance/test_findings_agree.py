"""Findings agree with stock Trivy's on every bill of materials that both can read.

Trivy gets a database made of the same evidence and the very file that is imported here. Lock files are turned into
bills of materials by Trivy itself. docs/use/findings.md explains where the two may differ.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import test_scan_examples as examples
from tests.acceptance import test_scan_real as real
from tests.support.shared import require_shared
from tests.support.tools import ROOT
from tests.unit.cli.running import Stella
from tests.unit.cli.scanning import once, scan, vulnerabilities

BOMS = sorted((ROOT / "examples" / "sboms").glob("*.json"))
FORMS = {"cyclonedx": "bom.cdx.json", "spdx-json": "bom.spdx.json", "spdx": "bom.spdx"}


@pytest.fixture(scope="session")
def made(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for source in real.SOURCES:
        require_shared(f"data/advisories/{source}/all.zip")
    return once(tmp_path_factory, "scanned-real", real.prepare)


@pytest.fixture(scope="session")
def made_of_examples(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "scanned-examples", examples.prepare)


def convert(before: tuple[str, ...], trivy: Path, target: Path, form: str, into: Path) -> Path:
    """A lock file as a bill of materials."""
    made = into / FORMS[form]
    offline = (
        "--offline-scan",
        "--skip-version-check",
        "--disable-telemetry",
        "--quiet",
        "--include-dev-deps",
    )
    command = [*before, str(trivy), "fs", "--format", form, "--cache-dir", str(into), *offline]
    subprocess.run([*command, "--output", str(made), str(target)], check=True, capture_output=True)
    return made


def ours(stella: Stella, bom: Path, tenant: str) -> list[dict[str, Any]]:
    own = stella.of_tenant(tenant)
    own("evidence", "sbom", "import", str(bom))
    found: list[dict[str, Any]] = own("evidence", "findings", "--sbom", bom.name)["findings"]
    return found


def last(name: str) -> str:
    """The part of a name that both write in the same way."""
    return name.rpartition("/")[2].rpartition(":")[2]


def same(found: list[dict[str, Any]], report: dict[str, Any]) -> int:
    """Both list the same packages, versions, vulnerabilities and severities; how many."""
    theirs = {
        # Trivy shows an epoch before the version, from wherever it stands.
        (one["PkgName"], one["InstalledVersion"].rpartition(":")[2], one["VulnerabilityID"], one["Severity"])
        for one in vulnerabilities(report)
    }
    mine = {
        (one["name"], one["version"].rpartition(":")[2], one["vulnerability"], one["severity"])
        for one in found
    }
    assert sorted((last(name), *rest) for name, *rest in mine) == sorted(
        (last(name), *rest) for name, *rest in theirs
    )
    return len(mine)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(real.CASES))
def test_findings_of_a_real_target_are_those_of_stock_trivy(
    name: str, made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    case = real.CASES[name]
    target = real.target(case, tmp_path)
    bom = target if target.is_file() else convert(no_network, trivy, target, "cyclonedx", tmp_path)
    found = ours(Stella(made / "data"), bom, f"agree-{name}")
    assert same(found, scan(no_network, trivy, made / "cache", bom, kind="sbom")) == case.counts[1]


@pytest.mark.slow
@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_form_of_a_bill_of_materials_gives_the_same_findings(
    form: str, made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    case = real.CASES["ripgrep"]
    bom = convert(no_network, trivy, real.target(case, tmp_path), form, tmp_path)
    assert (
        same(
            ours(Stella(made / "data"), bom, f"form-{form}"),
            scan(no_network, trivy, made / "cache", bom, kind="sbom"),
        )
        == case.counts[1]
    )


@pytest.mark.parametrize("bom", BOMS, ids=lambda path: path.name)
def test_findings_of_distributions_and_libraries_are_those_of_stock_trivy(
    bom: Path, made_of_examples: Path, trivy: Path, no_network: tuple[str, ...]
) -> None:
    found = ours(Stella(made_of_examples / "data"), bom, f"agree-{bom.name.partition('.')[0]}")
    assert same(found, scan(no_network, trivy, made_of_examples / "cache", bom, kind="sbom")) > 0


@pytest.mark.slow
def test_the_statements_of_a_hub_suppress_what_they_suppress_for_trivy(
    trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    hub = require_shared("data/vex/rancher-vexhub")
    stella = Stella(tmp_path / "data")
    stella("concelier", "import", str(require_shared("data/advisories/govuln-osv")), "--source", "govuln")
    stella("excititor", "import", str(hub), "--source", "rancher")
    case = real.CASES["longhorn"]
    bom = convert(no_network, trivy, real.target(case, tmp_path), "cyclonedx", tmp_path)
    stella("evidence", "sbom", "import", str(bom))
    told = stella("evidence", "findings")
    assert (told["open"], told["suppressed"]) == (13, 24)
    closed = [one for one in told["findings"] if one["status"] == "suppressed"]
    assert {one["verdict"]["source"] for one in closed} == {"rancher"}
    assert {tuple(one["because"]) for one in closed} == {("vex: not_affected",)}
