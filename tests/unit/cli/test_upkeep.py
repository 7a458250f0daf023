"""Quotas of storage, verification of what targets have, and chores on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stellaops.adapters.sql.chores import Last
from stellaops.center.doctor.upkeep import check_chores
from stellaops.ingest.doctor import Verdict
from tests.unit.cli.running import Stella, osv, package, until


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    made = Stella(tmp_path / "data")
    made.take(tmp_path / "feed", "ghsa", osv("GHSA-2222-2222-2222", package("PyPI", "p", *until("1.0"))))
    return made


def test_a_bound_of_storage_is_set_shown_held_and_taken_away(stella: Stella) -> None:
    run = stella.submit("json:raw")
    size = sum(each["bytes"] for each in run["artifacts"])
    made = stella("authority", "tenant", "create", "acme", "--max-storage", "1.5TiB")
    assert made["maxStorageBytes"] == 3 << 39
    changed = stella("authority", "tenant", "set", "default", "--max-storage", f"{size + 1}")
    assert changed["maxStorageBytes"] == size + 1
    found = stella("export", "quotas")
    assert (found["storedBytes"], found["maxStorageBytes"]) == (size, size + 1)
    assert [(each["store"], each["profile"], each["bundles"]) for each in found["stores"]] == [
        ("artefacts", "json:raw", 1)
    ]
    said = stella.refused(10, "ERR_EXPORT_QUOTA", "export", "run", "submit", "--profile", "trivy:db")
    assert "--max-storage" in said
    failed = stella("export", "run", "list", "--status", "failed")
    assert [each["errorCode"] for each in failed] == ["quota"]
    assert stella("authority", "tenant", "set", "default", "--max-storage", "none")["maxStorageBytes"] is None
    stella.submit("trivy:db")
    stella.refused(2, "ERR_USAGE", "authority", "tenant", "set", "default", "--max-storage", "much")
    shown = stella.ask("export", "quotas", "--format", "table").out
    assert "no bound" in shown
    assert "in 1 bundle" in shown


def test_what_targets_have_is_verified_and_what_is_wrong_ends_with_code_6(stella: Stella) -> None:
    run = stella.submit("json:raw")
    (found,) = stella("export", "target", "verify")
    assert (found["runId"], found["target"], found["status"]) == (run["runId"], "http", "ok")
    assert stella("export", "target", "verify", "--profile", "trivy:db") == []
    (last,) = stella("export", "target", "verify", "http", "--last")
    assert last == found | {"soundAt": found["at"]}
    stella.refused(4, "ERR_EXPORT_TARGET_NOT_FOUND", "export", "target", "verify", "nowhere")
    (stella.bundle(run) / "README.md").write_text("other", encoding="utf-8")
    answer = stella.ask("export", "target", "verify", "--format", "table")
    assert answer.code == 6
    assert f"run {run['runId']} at target http" in answer.err
    assert "README.md" in answer.err
    again = stella.ask("export", "target", "verify", "--last")
    assert again.code == 6


def test_the_doctor_tells_what_targets_and_chores_are_like(stella: Stella) -> None:
    def verdicts() -> dict[str, str]:
        answer = stella.ask("doctor", "--max-age", "9999d", "--format", "json")
        return {each["name"]: each["verdict"] for each in answer.value}

    for file in stella.data_dir.glob("service.db*"):
        file.unlink()
    assert not verdicts().keys() & {"targets", "chores"}  # there is no service store yet
    run = stella.submit("json:raw")
    assert verdicts().items() >= {"targets": "ok", "chores": "ok"}.items()
    (stella.bundle(run) / "README.md").write_text("other", encoding="utf-8")
    assert stella.ask("export", "target", "verify").code == 6
    assert verdicts()["targets"] == "failed"
    begun = datetime(2026, 3, 1, tzinfo=UTC)
    for hours, ok, verdict in (
        (25, True, Verdict.OK),
        (27, True, Verdict.WARNING),
        (1, False, Verdict.WARNING),
    ):
        last = Last("verify", begun, begun, begun, ok, {})
        assert check_chores([last], begun + timedelta(hours=hours)).verdict is verdict
    assert check_chores([], begun).detail == "no worker has done any yet"


def test_chores_are_listed_when_a_worker_has_done_some(stella: Stella) -> None:
    assert stella("export", "chores") == []
    stella("export", "retention", "run", "--every-tenant")
    (found,) = stella("export", "chores")
    assert (found["chore"], found["ok"]) == ("retention", True)
    assert found["succeededAt"]
