"""`stella export target` and `stella export distribute` on a data directory, with a target that cannot be reached."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stellaops.exports.errors import DistributionFailed
from tests.unit.cli.running import Stella, osv, package


@pytest.fixture
def stella(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stella:
    told = {
        "TARGETS__EDGE__DRIVER": "object",
        "TARGETS__EDGE__STORE": "s3://bundles/{tenant}",
        "TARGETS__EDGE__REGION": "eu-central-1",
        "TARGETS__EDGE__KEYFILE": str(tmp_path / "no-key"),
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return Stella(tmp_path / "data")


def profile(tmp_path: Path, *distribution: object) -> str:
    document = {
        "apiVersion": "stellaops.io/export.v1",
        "kind": "ExportProfile",
        "metadata": {"name": "near"},
        "spec": {"kind": "json", "variant": "raw", "distribution": list(distribution)},
    }
    file = tmp_path / "near.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(file)


def test_targets_are_listed_and_tested(stella: Stella) -> None:
    assert [(each["name"], each["driver"]) for each in stella("export", "target", "list")] == [
        ("http", "http"),
        ("edge", "object"),
    ]
    assert stella("export", "target", "test", "http")["status"] == "ok"
    answer = stella.ask("export", "target", "test", "edge")
    assert (answer.code, answer.out) == (5, "")
    assert "no-key" in answer.err
    stella.refused(4, "ERR_EXPORT_TARGET_NOT_FOUND", "export", "target", "test", "moon")
    table = stella.ask("export", "target", "list", "--format", "table").out
    assert table.splitlines()[0].split() == ["target", "driver", "settings", "profile", "latest", "at"]


def test_the_store_of_artefacts_is_listed_with_the_newest_bundle_of_each_profile(
    stella: Stella, tmp_path: Path
) -> None:
    stella.take(tmp_path / "in", "demo", osv("GHSA-aaaa-bbbb-cccc", package("PyPI", "demo")))
    run = [stella.submit("json:raw")["runId"] for _ in range(2)][1]
    http = stella("export", "target", "list")[0]
    assert [(each["profile"], each["runId"]) for each in http["latest"]] == [("json:raw", run)]
    table = stella.ask("export", "target", "list", "--format", "table").out
    assert ["http", "http", "ok", "json:raw", run] in [line.split()[:5] for line in table.splitlines()]


def test_a_verification_that_looks_at_nothing_says_so(stella: Stella) -> None:
    asked = ("export", "target", "verify", "http", "--profile", "json:raw")
    told = stella.ask(*asked, "--format", "table")
    assert told.code == 0
    assert "nothing was verified: no bundle of profile json:raw is at target http" in told.err
    assert "was verified at target http yet" in stella.ask(*asked, "--last", "--format", "table").err
    assert stella(*asked) == []
    stella.refused(4, "ERR_EXPORT_PROFILE_NOT_FOUND", "export", "target", "verify", "--profile", "moon")


def test_a_bundle_that_lacks_a_target_is_brought_there_again_until_the_profile_does_without(
    stella: Stella, tmp_path: Path
) -> None:
    stella.take(tmp_path / "in", "demo", osv("GHSA-aaaa-bbbb-cccc", package("PyPI", "demo")))
    required = {"driver": "object", "name": "edge", "required": True}
    stella("export", "profile", "create", profile(tmp_path, required))
    submitted = stella.ask("export", "run", "submit", "--profile", "near")
    assert submitted.code == 10
    assert submitted.err.startswith(f"error {DistributionFailed.code}: ")
    (run,) = stella("export", "run", "list")
    assert (run["status"], run["errorCode"]) == ("failed", "distribution")
    assert [submitted.value[name] for name in ("runId", "status")] == [run["runId"], "failed"]
    stella("export", "download", run["runId"], "--to", str(tmp_path / "bundle"))
    again = stella.ask("export", "distribute", run["runId"], "--format", "json")
    assert again.code == 10
    assert [each["status"] for each in again.value["targets"]] == ["succeeded", "failed"]
    assert "no-key" in again.err
    shown = stella.ask("export", "run", "show", run["runId"], "--format", "table").out
    assert "edge (required): failed" in shown
    stella("export", "profile", "update", profile(tmp_path, "http"), "--reason", "the store is down")
    freed = stella("export", "distribute", run["runId"])
    assert (freed["status"], freed["degraded"]) == ("succeeded", False)
    assert [each["target"] for each in freed["targets"]] == ["http"]


def test_a_profile_with_a_target_that_is_not_there_is_refused(stella: Stella, tmp_path: Path) -> None:
    file = profile(tmp_path, {"driver": "oci", "name": "moon"})
    told = stella.refused(2, "ERR_EXPORT_INVALID_PROFILE", "export", "profile", "create", file)
    assert "there is http, edge" in told


def test_settings_of_targets_are_shown_with_where_they_come_from(stella: Stella, tmp_path: Path) -> None:
    shown = stella("config", "show")["settings"]
    assert shown["targets.edge.store"] == {
        "value": "s3://bundles/{tenant}",
        "origin": "TARGETS__EDGE__STORE",
    }
    key = tmp_path / "no-key"  # as the fixture's settings name it
    key.write_text("[default]\n", encoding="utf-8")
    key.chmod(0o600)
    assert stella("config", "check")["verdict"] == "ok"
