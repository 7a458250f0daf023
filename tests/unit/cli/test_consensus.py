"""`stella excititor consensus`: weights of issuers by the tenant's policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.running import Stella

CVE, PRODUCT = "CVE-2024-0001", "pkg:npm/left-pad"


def statement(author: str, status: str, role: str) -> dict[str, Any]:
    return {
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": f"https://example.org/{author}", "author": author,
        "role": role, "timestamp": "2024-05-01T00:00:00Z", "version": 1,
        "statements": [{"vulnerability": {"name": CVE}, "products": [{"@id": PRODUCT}], "status": status,
                        "justification": "vulnerable_code_not_present"}],
    }  # fmt: skip


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    """A store in which a supplier and a researcher contradict each other."""
    folder = tmp_path / "vex"
    folder.mkdir()
    told = {"Maker": ("affected", "supplier"), "Finder": ("not_affected", "researcher")}
    for author, (status, role) in told.items():
        (folder / f"{author}.json").write_text(json.dumps(statement(author, status, role)), encoding="utf-8")
    made = Stella(tmp_path / "data")
    made("excititor", "import", str(folder), "--source", "hub")
    return made


def trust(stella: Stella, folder: Path, issuer: str, weight: int) -> str:
    """Take a policy snapshot that gives an issuer a weight; its digest."""
    rule = {"id": "trust", "reason": "r", "issuer": issuer, "weight": weight}
    document = {
        "apiVersion": "stellaops.io/policy.v1",
        "kind": "PolicyOverlay",
        "metadata": {"name": "base"},
        "spec": {"vexIssuerWeights": [rule]},
    }
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    stella("policy", "apply", str(path))
    digest: str = stella("policy", "snapshot")["digest"]
    return digest


def verdict(stella: Stella, *arguments: str) -> tuple[str, str]:
    told = stella("excititor", "consensus", CVE, *arguments)
    (product,) = told["products"]
    return product["status"], told["policySnapshot"]


def test_the_weights_of_the_newest_snapshot_decide_as_in_findings(stella: Stella, tmp_path: Path) -> None:
    status, empty = verdict(stella)
    assert status == "affected"
    trusted = trust(stella, tmp_path, "Finder", 900)
    assert verdict(stella) == ("not_affected", trusted)
    assert verdict(stella, "--policy-snapshot", "none") == ("affected", empty)
    silenced = trust(stella, tmp_path, "Finder", 0)
    assert verdict(stella) == ("affected", silenced)
    assert verdict(stella, "--policy-snapshot", trusted) == ("not_affected", trusted)


def test_a_policy_stands_over_a_file_of_weights(stella: Stella, tmp_path: Path) -> None:
    file = tmp_path / "weights.yaml"
    file.write_text("issuers: {Maker: 5, Finder: 10}\n", encoding="utf-8")
    assert verdict(stella, "--weights", str(file))[0] == "not_affected"
    trust(stella, tmp_path, "Maker", 20)
    assert verdict(stella, "--weights", str(file))[0] == "affected"


def test_another_tenants_policy_has_no_say(stella: Stella, tmp_path: Path) -> None:
    trust(stella, tmp_path, "Finder", 900)
    assert verdict(stella.of_tenant("other"))[0] == "affected"


def test_people_are_told_which_policy_had_a_say(stella: Stella, tmp_path: Path) -> None:
    digest = trust(stella, tmp_path, "Finder", 900)
    told = stella.ask("excititor", "consensus", CVE, "--format", "table")
    assert digest in told.err
    stella.refused(
        4, "ERR_POLICY_SNAPSHOT_NOT_FOUND", "excititor", "consensus", CVE, "--policy-snapshot", "0" * 64
    )
