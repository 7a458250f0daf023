"""Chores: when each is due, that one worker of all does it, in a process of its own, and what it says of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.settings import load as settings
from stellaops.adapters.settings.load import InvalidSettings
from stellaops.adapters.sql.chores import Last
from stellaops.bootstrap import Local, now
from stellaops.core.errors import DependencyFailed
from stellaops.worker import chores as module
from stellaops.worker.chores import Chore, Chores, chores_of
from tests.support.exporting import TENANT, Sender
from tests.unit.exports.executing import document


def told(tmp_path: Path, **variables: str) -> settings.Settings:
    known = {f"STELLA_CHORES_{name}": value for name, value in variables.items()}
    return settings.load({"dataDir": str(tmp_path)}, {"STELLA_CONFIG": str(tmp_path / "none.yaml"), **known})


def of(local: Local) -> Chores:
    return Chores(local.settings, local.chores, local.staging_rooms, local.data_dir / "exports", now)


def last(local: Local, name: str) -> Last:
    found = local.chores.last(name)
    assert found is not None
    return found


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    found = Sender(tmp_path / "data")
    yield found
    found.close()


def test_chores_are_due_from_a_time_of_the_day_on(tmp_path: Path) -> None:
    usual = {each.name: (each.hour, each.minute) for each in chores_of(told(tmp_path))}
    assert usual == {"retention": (2, 0), "verify": (3, 0)}
    other = told(tmp_path, RETENTION_AT="off", VERIFY_AT="23:59")
    assert list(chores_of(other)) == [Chore("verify", 23, 59)]
    chore, day = Chore("verify", 3, 30), datetime(2026, 3, 1, tzinfo=UTC)
    assert chore.since(day.replace(hour=4)) == timedelta(minutes=30)
    assert chore.since(day.replace(hour=3)) == timedelta(hours=23, minutes=30)
    assert chore.since(day.replace(hour=3, minute=30)) == timedelta()


@pytest.mark.parametrize("text", ["24:00", "3:30", "noon", "03:60", "* * * * *"])
def test_a_time_that_there_is_not_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidSettings, match=r"chores\.verifyAt"):
        list(chores_of(told(tmp_path, VERIFY_AT=text)))


def test_what_is_due_is_done_once_whoever_asks_and_its_report_is_kept(
    sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    sender.take({"1.json": document(1)}, "ghsa")
    run = sender.run("json:raw")
    local = sender.local
    with caplog.at_level(logging.INFO, "stellaops.worker"):
        threads = [threading.Thread(target=of(local).once) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(120)
        of(local).once()
    events = [vars(record)["event"] for record in caplog.records if "event" in vars(record)]
    assert sorted(events) == ["chore.finished"] * 2 + ["chore.started"] * 2
    verified, pruned = last(local, "verify"), last(local, "retention")
    assert (verified.ok, pruned.ok) == (True, True)
    assert (verified.report["checked"], verified.report["ok"]) == (1, 1)
    ((check, sound),) = local.target_checks.all(TENANT)
    assert (check.run_id, check.target, check.status) == (run.id, "http", "ok")
    assert sound is not None


def test_a_bundle_that_is_found_wrong_is_the_chores_result_and_no_failure_of_it(sender: Sender) -> None:
    sender.take({"1.json": document(1)}, "ghsa")
    run = sender.run("json:raw")
    assert run.archive is not None
    root = sender.local.artefacts.local_root(run.archive)
    assert root is not None
    (root / "export.json").write_bytes(b"{}")
    local = Local(told(sender.local.data_dir, RETENTION_AT="off"))
    of(local).once()
    found = last(local, "verify")
    assert (found.ok, found.report["failed"]) == (True, 1)
    (failure,) = found.report["failures"]
    assert (failure["runId"], failure["target"]) == (run.id, "http")
    assert "signer" in failure["checks"]


def test_a_chore_whose_process_dies_has_failed(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MODULE", "stellaops.worker.no_such_module")
    local = Local(told(sender.local.data_dir, RETENTION_AT="off"))
    of(local).once()
    found = last(local, "verify")
    assert found.ok is False
    assert "its process died" in found.report["error"]


def test_a_worker_that_ends_gives_back_what_it_has_begun(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MODULE", "base64")  # goes on as long as there is input
    local = Local(told(sender.local.data_dir, RETENTION_AT="off"))
    worker = of(local)
    monkeypatch.setattr(module, "FIRST", 0.0)
    worker.start()
    until = time.monotonic() + 20
    while local.chores.last("verify") is None and time.monotonic() < until:
        time.sleep(0.05)
    worker.stop(20)
    assert last(local, "verify").finished_at is None
    assert local.chores.claim("verify", now(), timedelta(days=1)), "another worker can take it on at once"


def test_a_store_that_is_away_stops_nothing(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    local = sender.local

    def away(*_: Any) -> bool:
        raise DependencyFailed("the store is away")

    monkeypatch.setattr(local.chores, "claim", away)
    of(local).once()
    assert local.chores.all() == []


def test_a_machine_says_how_much_room_it_has(sender: Sender) -> None:
    of(sender.local).note_room()
    (room,) = sender.local.staging_rooms.all()
    assert 0 < room.free <= room.size
    assert room.place == str(sender.local.data_dir / "exports")
