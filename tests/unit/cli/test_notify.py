"""Notifications on the command line, with a receiver on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.receivers import Receiver, receiving
from tests.unit.cli.running import Stella, osv, package, until


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def stella(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Stella:
    """A data directory with a channel `hook` that leads to the receiver."""
    monkeypatch.setenv("STELLA_EGRESS_ALLOW_PRIVATE", "127.0.0.0/8")
    monkeypatch.setenv("STELLA_EGRESS_ALLOW_HTTP", "127.0.0.1")
    made = Stella(tmp_path / "data")
    secrets = tmp_path / "data" / "notify" / "secrets" / "default"
    secrets.mkdir(parents=True)
    (secrets / "hmac").write_text("0123456789abcdef", encoding="utf-8")
    receiver.posted.clear()
    receiver.answers.clear()
    made("notify", "channel", "create", "hook", "--kind", "webhook",
         "--set", f"url={receiver.url}/in", "--set", "secretRef=hmac")  # fmt: skip
    return made


def told(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in receiver.posted]


def test_a_run_that_fails_is_told_by_the_next_pass_and_once(
    stella: Stella, receiver: Receiver, tmp_path: Path
) -> None:
    stella.refused(2, "ERR_EXPORT_EMPTY", "export", "run", "submit", "--profile", "trivy:db")
    assert stella("notify", "send") == [], "nobody had asked to be told"
    stella("notify", "rule", "create", "all", "--channel", "hook", "--event", "*")
    stella.take(tmp_path / "feed", "ghsa", osv("GHSA-2222-2222-2222", package("PyPI", "p", *until("1.0"))))
    stella.submit("mirror:full")
    stella.refused(
        5,
        "ERR_EXPORT_BASE_MISSING",
        "export",
        "run",
        "submit",
        "--profile",
        "mirror:delta",
        "--base",
        "a" * 26,
    )
    (sent,) = stella("notify", "send")
    assert (sent["status"], sent["event"]["type"]) == ("delivered", "delta.base_missing")
    assert stella("notify", "send") == []
    (message,) = told(receiver)
    assert message["id"] == sent["deliveryId"]
    assert message["data"]["also"] == ["run.failed"]
    assert "--profile mirror:full" in message["data"]["hint"]
    assert stella("notify", "deliveries", "--event", "run.failed") == [sent]
    assert stella("notify", "deliveries", "--status", "pending") == []
    assert stella("notify", "deliveries", "--show", sent["deliveryId"]) == sent


def test_a_channel_is_tried_shown_changed_and_forgotten(stella: Stella, receiver: Receiver) -> None:
    shown = stella("notify", "test", "hook", "--preview")
    assert (shown["delivery"], shown["preview"]["channelKind"]) == (None, "webhook")
    assert told(receiver) == []
    sent = stella("notify", "channel", "test", "hook", "--text", "hello")
    assert sent["delivery"]["status"] == "delivered"
    assert told(receiver)[0]["data"]["text"] == "hello"
    receiver.answers = [(503, {}, b"later")]
    failed = stella.ask("notify", "test", "hook")
    assert failed.code == 10
    assert failed.err.startswith("error ERR_NOTIFY_DELIVERY: ")
    assert json.loads(failed.out)["delivery"]["status"] == "failed"
    changed = stella(
        "notify", "channel", "update", "hook", "--name", "Hook", "--set", f"url={receiver.url}/other"
    )
    assert changed["settings"] == {"url": f"{receiver.url}/other", "secretRef": "hmac"}
    stella("notify", "channel", "update", "hook", "--disable")
    assert stella("notify", "channel", "show", "hook")["enabled"] is False
    assert [each["id"] for each in stella("notify", "channel", "list")] == ["hook"]
    stella.refused(4, "ERR_NOTIFY_CHANNEL_NOT_FOUND", "notify", "test", "nowhere")
    stella.refused(4, "ERR_NOTIFY_CHANNEL_NOT_FOUND", "notify", "channel", "update", "nowhere", "--name", "x")
    assert stella("notify", "channel", "delete", "hook")["id"] == "hook"
    assert stella("notify", "channel", "list") == []


def test_what_is_wrong_is_told(stella: Stella, tmp_path: Path) -> None:
    wrong = ("notify", "channel", "create")
    stella.refused(2, "ERR_USAGE", *wrong, "a", "--set", "to=x")
    stella.refused(2, "ERR_USAGE", *wrong, "a", "--kind", "email", "--set", "to")
    stella.refused(2, "ERR_USAGE", *wrong, "a", "--kind", "slack", "--set", "room=a", "--set", "room=b")
    stella.refused(2, "ERR_NOTIFY_INVALID_CHANNEL", *wrong, "a", "--kind", "pigeon")
    stella.refused(
        2, "ERR_NOTIFY_CHANNEL_EXISTS", *wrong, "hook", "--kind", "email", "--set", "to=a@example.org"
    )
    stella.refused(2, "ERR_USAGE", "notify", "rule", "create", "r", "--channel", "hook")
    rule = ("notify", "rule", "create", "r", "--channel", "hook")
    stella.refused(2, "ERR_NOTIFY_INVALID_RULE", *rule, "--event", "no.such")
    stella.refused(2, "ERR_USAGE", *rule, "--event", "*", "--quiet-hours", "nights")
    stella.refused(
        2, "ERR_NOTIFY_INVALID_RULE", *rule, "--event", "*", "--quiet-hours", "22:00-07:00@Mars/Olympus"
    )
    (tmp_path / "list.yaml").write_text("- a\n", encoding="utf-8")
    stella.refused(2, "ERR_USAGE", *rule, "--from", str(tmp_path / "list.yaml"))


def test_a_rule_is_made_of_options_or_of_a_file_and_changed_in_part(stella: Stella, tmp_path: Path) -> None:
    made = stella(
        "notify", "rule", "create", "nights", "--channel", "hook", "--event", "run.*", "--event", "verify.failed",
        "--severity-at-least", "error", "--topic", "profile/*", "--throttle", "1h",
        "--quiet-hours", "22:00-07:00@Europe/Berlin", "--quiet-below", "error", "--name", "Nights",
    )  # fmt: skip
    assert made["quietHours"] == [{"from": "22:00", "to": "07:00", "zone": "Europe/Berlin", "days": []}]
    changed = stella("notify", "rule", "update", "nights", "--throttle", "0", "--event", "*", "--disable")
    assert changed == made | {"throttle": None, "events": ["*"], "enabled": False}
    document = {name: value for name, value in changed.items() if value is not None}
    (tmp_path / "rule.yaml").write_text(json.dumps(document | {"enabled": True}), encoding="utf-8")
    again = stella("notify", "rule", "create", "copy", "--from", str(tmp_path / "rule.yaml"))
    assert again == changed | {"id": "copy", "enabled": True}
    assert [each["id"] for each in stella("notify", "rules")] == ["copy", "nights"]
    assert stella("notify", "rule", "list") == stella("notify", "rules")
    stella.refused(2, "ERR_NOTIFY_CHANNEL_USED", "notify", "channel", "delete", "hook")
    for name in ("copy", "nights"):
        assert stella("notify", "rule", "show", name)["id"] == name
        stella("notify", "rule", "delete", name)
    stella.refused(4, "ERR_NOTIFY_RULE_NOT_FOUND", "notify", "rule", "show", "copy")


def test_tables_say_it_in_a_line_each(stella: Stella, receiver: Receiver) -> None:
    stella(
        "notify", "rule", "create", "all", "--channel", "hook", "--event", "*", "--quiet-hours", "22:00-07:00"
    )
    receiver.answers = [(404, {}, b"nobody here")]
    stella.ask("notify", "test", "hook")

    def table(*words: str) -> str:
        answer = stella.ask("notify", *words, "--format", "table")
        assert answer.code == 0, answer.err
        return answer.out

    assert "secretRef=hmac" in table("channel", "list")
    assert "22:00-07:00@UTC" in table("rules")
    assert "answers 404 nobody here" in table("deliveries")
    assert "key.expiring" in table("events")
    assert "22:00-07:00@UTC" in table("rule", "show", "all")
    shown = table("test", "hook", "--preview")
    assert "v1,***" in shown
    assert "traceId" in shown


def test_a_failed_delivery_is_sent_again_on_request(stella: Stella, receiver: Receiver) -> None:
    stella("notify", "rule", "create", "all", "--channel", "hook", "--event", "run.failed")
    receiver.answers = [(410, {}, b"gone")]
    stella.refused(2, "ERR_EXPORT_EMPTY", "export", "run", "submit", "--profile", "trivy:db")
    (failed,) = stella("notify", "send")
    assert (failed["status"], failed["errorCode"]) == ("failed", "ERR_NOTIFY_REFUSED")
    assert stella("notify", "send") == []
    assert stella("notify", "deliveries", "--retry", failed["deliveryId"])["status"] == "pending"
    (sent,) = stella("notify", "send")
    assert (sent["deliveryId"], sent["status"]) == (failed["deliveryId"], "delivered")
    assert [each["id"] for each in told(receiver)] == [failed["deliveryId"]] * 2
    stella.refused(2, "ERR_NOTIFY_DELIVERY_STATE", "notify", "deliveries", "--retry", failed["deliveryId"])
