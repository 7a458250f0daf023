"""Real VEX: every set imports with one command, and its counts are those of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.importing import stella
from tests.support.shared import require_shared

# Documents and statements as the data's README has them, or as counted by hand.
SETS: dict[str, tuple[str, int, int]] = {
    "aquasecurity-vexhub/data.tar.xz": ("openvex", 59, 15_304),
    "docker-dhi/data.tar.xz": ("openvex", 107, 6_705),
    "openvex-old-forms/go-vex.tar.xz": ("openvex", 9, 14),
    "openvex-old-forms/vexctl.tar.xz": ("openvex", 15, 21),
    "cyclonedx-vex/data.tar.xz": ("cyclonedx-vex", 25, 112),
    "csaf-vex-redhat/data.tar.xz": ("csaf-vex", 30, 172),
    "rancher-vexhub/data.tar.xz": ("openvex", 1_117, 296_659),
    "oasis-csaf/data.tar.xz": ("csaf-vex", 1_151, 242),
}


def result(data: Path, *arguments: object) -> Any:
    done = stella(data, "excititor", *arguments)
    assert done.code == 0, done.err
    return done.value


def check(name: str, data: Path) -> dict[str, Any]:
    feed, documents, statements = SETS[name]
    archive = require_shared(f"data/vex/{name}")
    first = result(data, "import", archive, "--source", "one")
    assert (first["feed"], first["added"], first["quarantined"]) == (feed, documents, 0)
    assert first["statements"] == statements
    again = result(data, "import", archive, "--source", "one")
    assert (again["added"], again["changed"], again["unchanged"]) == (0, 0, documents)
    assert again["sequence"] == first["sequence"]
    (status,) = result(data, "status")["sources"]
    assert (status["documents"], status["statements"]) == (documents, statements)
    checks: dict[str, Any] = first.get("checks", {})
    return checks


@pytest.mark.parametrize("name", sorted(set(SETS) - {"rancher-vexhub/data.tar.xz"}))
def test_a_set_imports_whole_and_once(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.slow
def test_the_largest_hub_imports_whole_and_once(tmp_path: Path) -> None:
    # The index names a document that is not among the data.
    assert check("rancher-vexhub/data.tar.xz", tmp_path)["listedButAbsent"] == 1


def test_the_contradiction_in_docker_dhi_resolves_by_time(tmp_path: Path) -> None:
    result(tmp_path, "import", require_shared("data/vex/docker-dhi/data.tar.xz"), "--source", "docker-dhi")
    product = "pkg:deb/debian/libssl-dev"
    told = result(tmp_path, "consensus", "CVE-2025-9232", "--product", product)
    (found,) = told["products"]
    assert (found["product"], found["status"], found["conflict"]) == (product, "under_investigation", False)
    decisive, *others = found["statements"]
    assert (decisive["outcome"], decisive["statedAt"]) == ("decides", "2025-10-01T08:25:32.08Z")
    assert {each["outcome"] for each in others} == {"superseded"}
    assert any(each["status"] == "not_affected" and each["statedAt"] < "2025-10" for each in others)
