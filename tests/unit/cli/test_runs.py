"""`stella export run` on a data directory: the verbs of a server mean the same here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.running import Stella, osv, package, until

SPEC = {"kind": "json", "variant": "raw"}


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    made = Stella(tmp_path / "data")
    documents = [
        osv(f"GHSA-2222-2222-{number}", package("PyPI", "p", *until("1.0"))) for number in range(2222, 2232)
    ]
    made.take(tmp_path / "feed", "ghsa", *documents)
    return made


def profile(stella: Stella, place: Path, name: str, **spec: object) -> None:
    document = {"apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": name},
                "spec": SPEC | spec}  # fmt: skip
    file = place / f"{name}.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    stella("export", "profile", "create", str(file))


def test_options_of_a_server_are_taken_and_the_run_is_over_when_the_command_is(stella: Stella) -> None:
    run = stella("export", "run", "submit", "--profile", "json:raw", "--priority", "bulk", "--watch")
    assert run["status"] == "succeeded"
    assert all(Path(each["path"]).is_file() for each in run["artifacts"])
    assert Path(run["bundle"]) == stella.bundle(run)


def test_a_run_that_has_ended_is_watched_to_its_end_and_cannot_be_cancelled_or_approved(
    stella: Stella,
) -> None:
    run = stella.submit("json:raw")
    assert stella("export", "run", "watch", run["runId"])["status"] == "succeeded"
    stella.refused(2, "ERR_EXPORT_RUN_STATE", "export", "run", "cancel", run["runId"])
    stella.refused(2, "ERR_EXPORT_RUN_STATE", "export", "run", "approve", run["runId"], "--reason", "why not")
    stella.refused(4, "ERR_EXPORT_RUN_NOT_FOUND", "export", "run", "watch", "run-0")


def test_the_latest_run_of_a_profile_that_has_none_is_told_as_such(stella: Stella) -> None:
    show = (4, "ERR_EXPORT_RUN_NOT_FOUND", "export", "run", "show")
    assert "no run of tenant default has succeeded yet" in stella.refused(*show, "latest")
    stella.submit("json:raw")
    assert stella("export", "run", "show", "latest")["profile"] == "json:raw"
    assert "no run of profile 'trivy:db' of tenant default has succeeded yet" in stella.refused(
        *show, "latest:trivy:db"
    )


def test_watching_a_failed_run_ends_as_the_run_did(stella: Stella, tmp_path: Path) -> None:
    profile(stella, tmp_path, "nothing", selectors={"sources": ["mistyped"]})
    stella.refused(2, "ERR_EXPORT_EMPTY", "export", "run", "submit", "--profile", "nothing")
    (failed,) = stella("export", "run", "list", "--status", "failed")
    answer = stella.ask("export", "run", "watch", failed["runId"], "--format", "json")
    assert (answer.code, answer.value["errorCode"]) == (2, "empty")
    assert f"error ERR_EXPORT_EMPTY: run {failed['runId']}: " in answer.err
    profile(stella, tmp_path, "something", selectors={"sources": ["ghsa"]})
    replayed = stella("export", "run", "replay", failed["runId"], "--profile", "something")
    assert (replayed["status"], replayed["replayOf"], replayed["profile"]) == (
        "succeeded",
        failed["runId"],
        "something",
    )


def test_a_held_run_exits_10_and_goes_on_when_it_is_approved(stella: Stella, tmp_path: Path) -> None:
    profile(stella, tmp_path, "careful", gate={"maxShrink": "10%", "approve": True})
    stella.submit("careful")
    document = osv("GHSA-2222-2222-2222", package("PyPI", "p", *until("1.0")))
    stella.take(tmp_path / "less", "ghsa", document, more=("--prune",))
    answer = stella.ask("export", "run", "submit", "--profile", "careful", "--format", "json")
    held = answer.value
    assert (answer.code, held["status"]) == (10, "held")
    assert "error ERR_EXPORT_HELD: " in answer.err
    assert stella("export", "verify", held["runId"])["verdict"] == "ok"
    stella.refused(
        5, "ERR_EXPORT_BUNDLE_GONE", "export", "download", held["runId"], "--to", str(tmp_path / "out")
    )
    approved = stella("export", "run", "approve", held["runId"], "--reason", "looked at it")
    assert (approved["status"], approved["approvedBy"] is not None) == ("succeeded", True)
    stella("export", "download", held["runId"], "--to", str(tmp_path / "out"))
