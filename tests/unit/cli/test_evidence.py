"""`stella evidence` and `stella policy`: from a bill of materials to findings under a policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.property.test_findings import advisory, bom
from tests.support.tools import ROOT
from tests.unit.cli.running import Stella

CVE = "CVE-2024-0001"


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    """A store with an advisory and a bill of materials that it is about."""
    made = Stella(tmp_path / "data")
    made.take(tmp_path / "in", "ghsa", advisory("GHSA-cccc-cccc-cccc", "alpha", ("0", "2.0"), [CVE]))
    (tmp_path / "bom.json").write_text(json.dumps(bom([("alpha", "1.5"), ("beta", "1.0")])), encoding="utf-8")
    made("evidence", "sbom", "import", str(tmp_path / "bom.json"))
    return made


def overlay(folder: Path, **more: object) -> Path:
    rule = {"id": "a", "reason": "r", "match": {"vulnerabilities": ["GHSA-cccc-cccc-cccc"]}, **more}
    document = {
        "apiVersion": "stellaops.io/policy.v1",
        "kind": "PolicyOverlay",
        "metadata": {"name": "base"},
        "spec": {"ignoreRules": [rule]},
    }
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_bills_of_materials_are_listed_with_what_they_are_about(stella: Stella) -> None:
    (one,) = stella("evidence", "sbom", "list")
    assert (one["subject"], one["key"], one["components"]) == ("shop@1", "shop@1#bom.json", 2)
    assert stella.of_tenant("other")("evidence", "sbom", "list") == []


def test_findings_follow_the_newest_snapshot_unless_told(stella: Stella, tmp_path: Path) -> None:
    assert stella("evidence", "findings")["open"] == 1
    path = overlay(tmp_path, expires="2999-12-31")
    assert stella("policy", "lint", str(path)) == {"verdict": "ok", "overlays": ["base"], "rules": 1}
    assert stella("policy", "apply", str(path))["added"] == 1
    assert stella("evidence", "findings")["open"] == 1, "an overlay counts once a snapshot was taken"
    tried = stella("policy", "snapshot", "--dry-run")
    assert stella("policy", "show")["snapshots"] == []
    taken = stella("policy", "snapshot")
    assert taken["digest"] == tried["digest"]
    suppressed = stella("evidence", "findings")
    assert (suppressed["open"], suppressed["suppressed"]) == (0, 1)
    assert suppressed["policySnapshot"] == taken["digest"]
    assert suppressed["findings"][0]["because"] == ["policy: a"]
    assert stella("evidence", "findings", "--policy-snapshot", "none")["open"] == 1
    again = stella("evidence", "findings", "--policy-snapshot", taken["digest"])
    assert again == suppressed
    late = stella("policy", "snapshot", "--at", "3000-01-01")
    assert (late["rules"], late["expired"]) == ([], ["a"])


def test_a_snapshot_s_bytes_have_the_digest_that_names_it(stella: Stella, tmp_path: Path) -> None:
    stella("policy", "apply", str(overlay(tmp_path)))
    taken = stella("policy", "snapshot")
    shown = stella("policy", "show", taken["digest"])
    assert [rule["id"] for rule in shown["rules"]] == ["a"]
    raw = stella.ask("policy", "show", "latest", "--raw").out
    assert json.loads(raw)["rules"] == shown["rules"]


def test_a_table_shows_what_is_open_and_names_its_documents(stella: Stella, tmp_path: Path) -> None:
    told = stella.ask("evidence", "findings", "--format", "table").out
    assert "ghsa GHSA-cccc-cccc-cccc" in told
    assert "1 open, 0 suppressed" in told
    stella("policy", "apply", str(overlay(tmp_path)))
    stella("policy", "snapshot")
    assert CVE not in stella.ask("evidence", "findings", "--format", "table").out
    assert "policy: a" in stella.ask("evidence", "findings", "--format", "table", "--all").out


def test_mistakes_are_refused_with_all_that_is_wrong(stella: Stella, tmp_path: Path) -> None:
    path = overlay(tmp_path, expires="soon", surprise="x")
    for command in ("lint", "apply"):
        told = stella.refused(2, "ERR_POLICY_INVALID", "policy", command, str(path))
        assert "expires: 'soon'" in told
        assert "surprise: is none of" in told
    stella.refused(2, "ERR_USAGE", "policy", "snapshot", "--at", "soon")
    stella.refused(4, "ERR_POLICY_SNAPSHOT_NOT_FOUND", "policy", "show", "sha256:0123456789")
    stella.refused(
        4, "ERR_POLICY_SNAPSHOT_NOT_FOUND", "evidence", "findings", "--policy-snapshot", "0123456789"
    )
    stella.refused(4, "ERR_FINDINGS_SBOM_NOT_FOUND", "evidence", "findings", "--sbom", "nothing")


def test_the_overlay_in_the_documentation_is_a_valid_one(stella: Stella, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "use" / "policy.md").read_text(encoding="utf-8")
    (tmp_path / "shown.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    assert stella("policy", "lint", str(tmp_path / "shown.yaml"))["rules"] == 5
