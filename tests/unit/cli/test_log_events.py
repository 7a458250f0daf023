"""Events that operators look for by name: in the log of commands, and in the audit log."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from stellaops.adapters.settings import load as settings
from stellaops.authority.audit import AuditFilter
from stellaops.bootstrap import Local
from tests.support.mirrors import State, delta_of, full, key_pem
from tests.unit.cli.running import Stella, osv, package, until

FIRST = State({("a", f"K{number}"): f"text {number}" for number in range(20)}, rules=1)
SECOND = replace(FIRST, documents={**FIRST.documents, ("a", "K3"): "other"})
LATER = b'{"kind":"trivy","variant":"db","schemaVersion":3}'
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that commands add their events to."""
    place = tmp_path / "events.log"
    monkeypatch.setenv("STELLA_LOG_FILE", str(place))
    return place


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    made = Stella(tmp_path / "data")
    made.take(tmp_path / "feed", "ghsa", osv("GHSA-2222-2222-2222", package("PyPI", "p", *until("1.0"))))
    return made


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def audited(stella: Stella, action: str) -> list[dict[str, Any]]:
    """Records of the audit log, newest first."""
    local = Local(settings.load({"dataDir": str(stella.data_dir)}, {"STELLA_CONFIG": "none"}))
    return [each.to_wire() for each in local.audit.list(None, AuditFilter(action=action))]


def profile(place: Path, name: str, **spec: Any) -> str:
    wire = {
        "apiVersion": "stellaops.io/export.v1",
        "kind": "ExportProfile",
        "metadata": {"name": name},
        "spec": spec,
    }
    file = place / f"{name}.yaml"
    file.write_text(yaml.safe_dump(wire))
    return str(file)


def test_a_mirror_bundle_is_told_when_it_is_there_and_no_other_bundle_is(stella: Stella, log: Path) -> None:
    run = stella.submit("mirror:full")
    stella.submit("json:raw")
    told = [each for each in events(log) if each["event"].startswith(("run.", "mirror."))]
    ran = ["run.submitted", "run.started", "run.succeeded"]
    assert [each["event"] for each in told] == [*ran, "mirror.bundle.created", *ran]
    (bundle,) = [each for each in told if each["event"] == "mirror.bundle.created"]
    assert (bundle["runId"], bundle["profile"], bundle["tenant"]) == (run["runId"], "mirror:full", "default")
    (record,) = audited(stella, "mirror.bundle.created")
    assert record["target"] == f"run/{run['runId']}"
    assert record["details"]["exportId"] == run["exportId"]
    assert record["details"]["bytes"] == sum(each["bytes"] for each in run["artifacts"])


def test_a_schema_that_is_not_written_here_is_told_by_its_name(
    stella: Stella, log: Path, tmp_path: Path
) -> None:
    stella("export", "profile", "create", profile(tmp_path, "later", kind="trivy", variant="db"))
    with closing(sqlite3.connect(stella.data_dir / "service.db")) as connection, connection:
        # A later release may know schema 3 and leave such a profile in the store.
        connection.execute("UPDATE profile SET spec = ?", (LATER,))
    stella.refused(2, "ERR_EXPORT_UNSUPPORTED_SCHEMA", "export", "run", "submit", "--profile", "later")
    told = {each["event"]: each for each in events(log) if each.get("runId")}
    assert set(told) == {
        "run.submitted", "run.started", "run.failed", "adapter.trivy.unsupported_schema_version"
    }  # fmt: skip
    found = told["adapter.trivy.unsupported_schema_version"]
    assert (found["errorCode"], found["profile"], found["level"]) == ("unsupported_schema", "later", "error")


def test_applying_a_delta_is_told_and_so_is_that_it_could_not_be(log: Path, tmp_path: Path) -> None:
    base = full(FIRST, tmp_path / "sent")
    update = delta_of(base, SECOND, tmp_path / "sent")
    key, into = tmp_path / "export-center.pub", str(tmp_path / "into")
    key.write_bytes(key_pem())
    receiver = Stella(tmp_path / "data")
    delta = ("mirror", "apply", str(update.path), "--into", into, "--key", str(key))
    receiver.refused(6, "ERR_MIRROR_DELTA_APPLY", *delta)
    (failed,) = events(log)
    assert (failed["event"], failed["errorCode"]) == ("mirror.delta.apply_failed", "ERR_MIRROR_DELTA_APPLY")
    receiver("mirror", "restore", str(base.path), "--into", into, "--key", str(key))
    receiver(*delta)
    told = [each for each in events(log) if each["event"] == "mirror.delta.applied"]
    assert [each["archiveId"] for each in told] == [base.archive_id, update.archive_id]
    assert not (tmp_path / "data" / "service.db").exists(), "a receiver gets no stores by that"


def test_where_there_is_an_installation_its_audit_log_knows_what_was_applied(
    stella: Stella, tmp_path: Path
) -> None:
    stella("export", "profile", "list")
    base = full(FIRST, tmp_path / "sent")
    key = tmp_path / "export-center.pub"
    key.write_bytes(key_pem())
    stella("mirror", "restore", str(base.path), "--into", str(tmp_path / "into"), "--key", str(key))
    (record,) = audited(stella, "mirror.delta.applied")
    assert record["target"] == f"mirror/{tmp_path / 'into'}"
    assert record["details"]["archiveId"] == base.archive_id
    assert record["actor"].startswith("local:")


def test_the_revision_from_which_on_a_profile_encrypts_is_told_once(
    stella: Stella, log: Path, tmp_path: Path
) -> None:
    plain: dict[str, Any] = {"kind": "mirror", "variant": "full"}
    sealed = plain | {"encryption": {"enabled": True, "recipientKeys": [RECIPIENT]}}
    stella("export", "profile", "create", profile(tmp_path, "kit", **plain))
    assert audited(stella, "mirror.encryption.enabled") == []
    for number, spec in enumerate((sealed, sealed | {"nextUpdate": "12h"}, plain, sealed)):
        stella(
            "export", "profile", "update", profile(tmp_path, "kit", **spec), "--reason", f"change {number}"
        )
    records = audited(stella, "mirror.encryption.enabled")
    assert [each["details"]["revision"] for each in records] == ["r5", "r2"]
    assert records[1]["details"] == {"mode": "age", "recipients": 1, "revision": "r2"}
    assert (records[1]["target"], records[1]["reason"]) == ("profile/kit", "change 0")
    assert RECIPIENT not in json.dumps(records)
    told = [each["event"] for each in events(log) if each["event"].startswith("mirror.")]
    assert told == ["mirror.encryption.enabled"] * 2


def test_without_a_file_nothing_is_written_and_a_log_that_cannot_be_written_stops_no_command(
    stella: Stella, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = stella.ask("export", "run", "submit", "--profile", "mirror:full", "--format", "json")
    assert (answer.code, answer.err) == (0, "")
    monkeypatch.setenv("STELLA_LOG_FILE", str(tmp_path / "none" / "events.log"))
    answer = stella.ask("export", "run", "submit", "--profile", "mirror:full", "--format", "json")
    assert answer.code == 0
    assert "the log cannot be written" in answer.err
