"""Differences between two exports: what was added, changed, withdrawn and removed, by source, package, severity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stellaops.exports import diff_exports as comparing
from stellaops.exports.diff_exports import diff_exports
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.run_export import run_export
from tests.unit.exports.executing import TENANT, Service, document

HIGH = {"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def export(service: Service, name: str, kind: str) -> Path:
    recipe = service.profile(name.replace("-", ""), kind=kind, smoke="off")
    run = run_export(RunRequest(name, TENANT, recipe, {}), service.tools)
    assert run.archive is not None
    root = service.local.artefacts.local_root(run.archive)
    assert root is not None
    return root


def two_states(service: Service, kind: str) -> dict[str, Any]:
    service.take(document(1, **HIGH), document(2), document(3), document(4))
    service.take(document(9), source="other")
    old = export(service, "run-old", kind)
    service.take(
        document(1, **HIGH, details="More is known"),
        document(2, withdrawn="2026-02-01T00:00:00Z"),
        document(3),
        document(5, **HIGH),
        document(6, withdrawn="2026-02-01T00:00:00Z"),
        prune=True,
    )
    service.take(document(9, details="More"), source="other")
    return diff_exports(old, export(service, "run-new", kind)).to_wire()


def counts(added: int = 0, changed: int = 0, withdrawn: int = 0, removed: int = 0) -> dict[str, int]:
    return {"added": added, "changed": changed, "withdrawn": withdrawn, "removed": removed}


def test_documents_are_counted_by_source_package_and_severity(service: Service) -> None:
    found = two_states(service, "json:raw")
    (index,) = found["contents"].values()
    assert list(found["contents"]) == ["indexes/advisories"]
    assert {word: found[word] for word in comparing.WORDS} == counts(2, 2, 1, 1)
    assert index["sources"] == {"ghsa": counts(2, 1, 1, 1), "other": counts(changed=1)}
    assert index["severities"] == {"CRITICAL": counts(1, 1), "UNKNOWN": counts(1, 1, 1, 1)}
    assert index["packages"]["pkg:pypi/package-2"] == counts(withdrawn=1)
    assert index["packages"]["pkg:pypi/package-4"] == counts(removed=1)
    assert "pkg:pypi/package-3" not in index["packages"]
    assert {"change": "withdrawn", "what": "ghsa GHSA-0002-aaaa-aaaa"}.items() <= next(
        each for each in found["changes"] if each["change"] == "withdrawn"
    ).items()
    assert found["omitted"] == 0


def test_entries_of_a_database_are_counted_by_bucket_package_and_severity(service: Service) -> None:
    service.take(document(1, **HIGH), document(2))
    old = export(service, "run-old", "trivy:db")
    service.take(
        document(1, **HIGH, affected=document(7)["affected"]), document(2, withdrawn="2026-02-01T00:00:00Z")
    )
    found = diff_exports(old, export(service, "run-new", "trivy:db")).to_wire()
    database = found["contents"]["trivy/db.bundle"]
    (bucket,) = database["sources"]
    assert database["sources"][bucket] == counts(added=1, removed=2)
    assert database["packages"] == {
        "package-1": counts(removed=1), "package-2": counts(removed=1), "package-7": counts(added=1),
    }  # fmt: skip
    assert database["severities"]["CRITICAL"] == counts(added=1, removed=1)


def test_long_lists_are_cut_and_say_so_while_counts_stay_whole(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "_MOST_LISTED", 2)
    monkeypatch.setattr(comparing, "_MOST_PACKAGES", 1)
    found = two_states(service, "json:raw")
    assert (len(found["changes"]), found["omitted"], found["added"]) == (2, 4, 2)
    (index,) = found["contents"].values()
    assert (len(index["packages"]), index["packagesOmitted"]) == (1, 5)
