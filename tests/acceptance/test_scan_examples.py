"""The examples, from advisories to findings: stock Trivy reports exactly what is expected, without a network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.tools import ROOT
from tests.unit.cli.running import Stella
from tests.unit.cli.scanning import findings, once, scan, vulnerabilities

EXAMPLES = ROOT / "examples"
EXPECTED: dict[str, list[list[str]]] = json.loads(
    (EXAMPLES / "expected-findings.json").read_text(encoding="utf-8")
)


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    for folder in sorted((EXAMPLES / "advisories").iterdir()):
        stella("concelier", "import", str(folder), "--source", folder.name)
    run = stella.submit("trivy:db")
    stella("export", "download", run["runId"], "--to", str(place / "bundle"))
    shutil.copyfile(place / "data" / "tenants" / "default" / "export-center.pub", place / "sender.pub")
    stella(
        "trivy", "import", str(place / "bundle" / "trivy" / "db.bundle"), "--cache-dir", str(place / "cache"),
        "--key", str(place / "sender.pub"),
    )  # fmt: skip


@pytest.fixture(scope="session")
def made(trivy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "scanned-examples", prepare)


def test_every_project_and_sbom_of_the_examples_is_expected_to_have_something_or_nothing() -> None:
    there = {f"{kind}/{path.name}" for kind in ("projects", "sboms") for path in (EXAMPLES / kind).iterdir()}
    assert there == set(EXPECTED)


@pytest.mark.parametrize("target", sorted(EXPECTED))
def test_trivy_finds_exactly_what_is_expected(
    target: str, made: Path, trivy: Path, no_network: tuple[str, ...]
) -> None:
    report = scan(no_network, trivy, made / "cache", EXAMPLES / target)
    assert sorted(map(list, findings(report))) == EXPECTED[target]
    assert len(vulnerabilities(report)) == len(EXPECTED[target])


def test_findings_carry_title_severity_source_and_links(
    made: Path, trivy: Path, no_network: tuple[str, ...]
) -> None:
    report = scan(no_network, trivy, made / "cache", EXAMPLES / "projects" / "webshop")
    for found in vulnerabilities(report):
        assert found.get("Title") or found["Description"]  # some databases write no summaries
        assert found["References"]
        assert found["DataSource"]["ID"] in ("ghsa", "osv", "govulndb")
        if found.get("SeveritySource"):
            assert found["VendorSeverity"][found["SeveritySource"]] > 0
            assert found["Severity"] != "UNKNOWN"


def test_a_database_loaded_by_us_counts_as_fresh_without_the_network(
    made: Path, trivy: Path, no_network: tuple[str, ...], tmp_path: Path
) -> None:
    shutil.copytree(made / "cache", tmp_path / "cache")
    metadata = json.loads((tmp_path / "cache" / "db" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["Version"] == 2
    assert metadata["DownloadedAt"] > "2020"
    assert metadata["UpdatedAt"] < metadata["NextUpdate"]


def test_smoke_finds_every_sentinel(made: Path, trivy: Path) -> None:
    stella = Stella(made / "data")
    answer = stella("trivy", "smoke", str(made / "bundle" / "trivy" / "db.bundle"))
    sentinels = json.loads((made / "bundle" / "trivy" / "sentinels.json").read_text(encoding="utf-8"))
    assert answer["verdict"] == "ok"
    assert answer["sentinels"] == len(sentinels) >= 12
