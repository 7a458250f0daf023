"""Channels, rules, tests and the history of deliveries over the API, and by the client that commands ask with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.settings import load as settings
from stellaops.api.app import create_app
from stellaops.bootstrap import Local, now
from stellaops.center.interface import DeliveriesWanted
from stellaops.center.local_notify import LocalNotify
from stellaops.center.notifying import send
from stellaops.client.connection import Connection
from stellaops.client.errors import NotOverServer
from stellaops.client.remote_notify import RemoteNotify
from stellaops.core.errors import InvalidInput
from stellaops.notify.event import Event, Severity
from tests.support.api import OTHER, Api, api
from tests.support.receivers import Receiver, receiving

_CHANNELS, _RULES, _DELIVERIES = (f"/api/notify/{name}" for name in ("channels", "rules", "deliveries"))
_OPERATOR = ("*",)
RULE = {"id": "failures", "channel": "hook", "events": ["run.*"]}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def fresh(tmp_path: Path, receiver: Receiver) -> Iterator[Api]:
    """An API with a channel of the default tenant that leads to the receiver."""
    with api(tmp_path) as found:
        found.service.more |= {
            "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8", "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1",
            "STELLA_NOTIFY_RATE_LIMITS_TEST_SEND": "3/1h", "STELLA_NOTIFY_RATE_LIMITS_DELIVERY_HISTORY": "30/1h",
        }  # fmt: skip
        secret(found, "hmac", "0123456789abcdef")
        receiver.posted.clear()
        receiver.answers.clear()
        made = found.post(_CHANNELS, hook(receiver))
        assert made.status_code == 201, made.text
        assert made.headers["location"] == f"{_CHANNELS}/hook"
        yield found


def hook(receiver: Receiver, **more: Any) -> dict[str, Any]:
    return {"id": "hook", "kind": "webhook", "settings": {"url": receiver.url, "secretRef": "hmac"}, **more}


def secret(asked: Api, name: str, text: str) -> None:
    file = asked.local.data_dir / "notify" / "secrets" / "default" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def happen(local: Local, number: int, tenant: str = "default") -> None:
    at = now()
    local.notify_outbox.add(
        [
            Event(
                f"evt-{at.timestamp()}-{n}",
                "run.failed",
                at,
                tenant,
                Severity.ERROR,
                f"profile/{n}",
                "failed",
                "so",
            )
            for n in range(number)
        ]
    )


def actions(asked: Api) -> list[tuple[str, str]]:
    found = asked.get("/api/export/audit").json()["items"]
    return [(each["action"], each["target"]) for each in found if each["action"].startswith("notify")]


def test_a_channel_is_made_looked_at_changed_and_forgotten(fresh: Api, receiver: Receiver) -> None:
    (found,) = fresh.get(_CHANNELS).json()["items"]
    assert found == hook(receiver, name=None, enabled=True)
    again = fresh.post(_CHANNELS, hook(receiver))
    assert (again.status_code, again.json()["code"]) == (409, "ERR_NOTIFY_CHANNEL_EXISTS")
    wrong = fresh.post(_CHANNELS, {"id": "Bad", "kind": "webhook", "settings": {"url": "file:///etc/passwd"}})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "ERR_NOTIFY_INVALID_CHANNEL")
    changed = hook(receiver, name="Hook", enabled=False)
    del changed["id"]
    assert fresh.ask("PUT", f"{_CHANNELS}/hook", json=changed).json()["name"] == "Hook"
    assert fresh.ask("PUT", f"{_CHANNELS}/nowhere", json=changed).status_code == 404
    assert fresh.get(f"{_CHANNELS}/hook").json()["enabled"] is False
    assert fresh.ask("DELETE", f"{_CHANNELS}/hook").json()["id"] == "hook"
    assert fresh.get(f"{_CHANNELS}/hook").status_code == 404
    assert actions(fresh) == [
        (f"notify.channel.{what}", "notify-channel/hook") for what in ("deleted", "changed", "created")
    ]


def test_a_rule_is_made_looked_at_changed_and_forgotten(fresh: Api) -> None:
    made = fresh.post(_RULES, RULE | {"quietHours": [{"from": "22:00", "to": "07:00"}], "throttle": "1h"})
    assert made.status_code == 201, made.text
    assert made.json()["quietHours"] == [{"from": "22:00", "to": "07:00", "zone": "UTC", "days": []}]
    assert fresh.get(_RULES).json()["items"] == [made.json()]
    assert fresh.post(_RULES, RULE).json()["code"] == "ERR_NOTIFY_RULE_EXISTS"
    assert (
        fresh.post(_RULES, RULE | {"id": "b", "events": ["no.such"]}).json()["code"]
        == "ERR_NOTIFY_INVALID_RULE"
    )
    assert (
        fresh.post(_RULES, RULE | {"id": "b", "channel": "none"}).json()["code"]
        == "ERR_NOTIFY_CHANNEL_NOT_FOUND"
    )
    used = fresh.ask("DELETE", f"{_CHANNELS}/hook")
    assert (used.status_code, used.json()["code"]) == (409, "ERR_NOTIFY_CHANNEL_USED")
    changed = {"channel": "hook", "events": ["*"], "enabled": False}
    assert fresh.ask("PUT", f"{_RULES}/failures", json=changed).json()["events"] == ["*"]
    assert fresh.get(f"{_RULES}/failures").json()["throttle"] is None
    assert fresh.ask("DELETE", f"{_RULES}/failures").status_code == 200
    assert fresh.get(f"{_RULES}/failures").status_code == 404


def test_only_an_operator_is_told_of_every_tenant(fresh: Api) -> None:
    refused = fresh.post(_RULES, RULE | {"everyTenant": True})
    assert (refused.status_code, refused.json()["code"]) == (403, "ERR_OPERATOR_ONLY")
    headers = {"x-stella-tenant": "default"}
    made = fresh.post(_RULES, RULE | {"everyTenant": True}, tenants=_OPERATOR, headers=headers)
    assert made.status_code == 201, made.text


def test_a_test_shows_what_is_sent_and_stands_in_the_history(fresh: Api, receiver: Receiver) -> None:
    headers = {"traceparent": f"00-{'ab' * 16}-{'01' * 8}-01"}
    shown = fresh.post(f"{_CHANNELS}/hook/test", {"preview": True}, headers=headers).json()
    assert shown["delivery"] is None
    assert receiver.posted == []
    told = fresh.post(f"{_CHANNELS}/hook/test", {"text": "can you read this?"}, headers=headers).json()
    assert told["preview"]["traceId"] == told["delivery"]["traceId"] == "ab" * 16
    assert told["preview"]["headers"]["webhook-signature"] == "v1,***"
    assert told["delivery"]["status"] == "delivered"
    assert b"can you read this?" in receiver.posted[0].body
    (kept,) = fresh.get(_DELIVERIES).json()["items"]
    assert kept == told["delivery"]
    assert kept["rule"] is None
    assert actions(fresh)[0] == ("notify.channel.tested", "notify-channel/hook")
    receiver.answers = [(500, {}, b"broken")]
    bad = fresh.post(f"{_CHANNELS}/hook/test").json()["delivery"]
    assert (bad["status"], bad["errorCode"]) == ("failed", "ERR_NOTIFY_DELIVERY")
    over = fresh.post(f"{_CHANNELS}/hook/test")
    assert (over.status_code, over.json()["code"]) == (429, "ERR_NOTIFY_RATE")
    assert "notify.rateLimits.testSend" in over.json()["detail"]
    assert over.headers["x-stella-quota-limit"] == "3"
    assert 0 < int(over.headers["retry-after"]) <= 1200
    others = fresh.post(f"{_CHANNELS}/hook/test", {}, tenants=_OPERATOR)
    assert others.status_code == 200, "each client has its own allowance"


def test_the_history_is_read_by_page_within_its_own_rate(fresh: Api, receiver: Receiver) -> None:
    fresh.post(_RULES, RULE)
    happen(fresh.local, 5)
    receiver.answers = [(400, {}, b"no")]
    assert len(send(fresh.local)) == 5
    first = fresh.get(f"{_DELIVERIES}?limit=2").json()
    rest = fresh.get(f"{_DELIVERIES}?limit=500&cursor={first['next']}").json()
    found = [*first["items"], *rest["items"]]
    assert rest["next"] is None
    assert len({each["deliveryId"] for each in found}) == 5
    (failed,) = fresh.get(f"{_DELIVERIES}?status=failed").json()["items"]
    assert (failed["errorCode"], failed["attempts"]) == ("ERR_NOTIFY_REFUSED", 1)
    assert (
        fresh.get(f"{_DELIVERIES}?event=run.failed&rule=failures&channel=hook&status=delivered").json()[
            "next"
        ]
        is None
    )
    assert fresh.get(f"{_DELIVERIES}?cursor=nonsense").status_code == 400
    assert fresh.get(f"{_DELIVERIES}?colour=red").status_code == 400
    again = fresh.post(f"{_DELIVERIES}/{failed['deliveryId']}/retry")
    assert (again.status_code, again.json()["status"]) == (200, "pending")
    assert fresh.post(f"{_DELIVERIES}/{failed['deliveryId']}/retry").status_code == 409
    assert [each.id for each in send(fresh.local)] == [failed["deliveryId"]]
    assert fresh.get(f"{_DELIVERIES}/{failed['deliveryId']}").json()["status"] == "delivered"
    assert fresh.get(f"{_DELIVERIES}/dlv-none").status_code == 404
    statuses = [fresh.get(_DELIVERIES).status_code for _ in range(30)]
    assert statuses.count(429) >= 5
    assert fresh.get(_CHANNELS).status_code == 200


def test_a_tenant_sees_nothing_of_another_and_scopes_are_held(fresh: Api, receiver: Receiver) -> None:
    fresh.post(_RULES, RULE)
    happen(fresh.local, 1)
    send(fresh.local)
    (mine,) = fresh.get(_DELIVERIES).json()["items"]
    fresh.tenant(OTHER)
    for path in (_CHANNELS, _RULES, _DELIVERIES):
        assert fresh.get(path, tenants=(OTHER,)).json()["items"] == []
    for path in (f"{_CHANNELS}/hook", f"{_RULES}/failures", f"{_DELIVERIES}/{mine['deliveryId']}"):
        assert fresh.get(path, tenants=(OTHER,)).status_code == 404
        assert fresh.get(path, scopes=("export:read",)).status_code == 403
    read = ("notify:read",)
    assert fresh.get(_CHANNELS, scopes=read).status_code == 200
    assert fresh.post(_CHANNELS, hook(receiver), scopes=read).status_code == 403
    assert fresh.post(f"{_CHANNELS}/hook/test", scopes=read).status_code == 403
    assert len(fresh.get("/api/notify/events").json()["items"]) == 7


def test_settings_that_cannot_be_are_told_when_the_service_begins(tmp_path: Path) -> None:
    for name, value in (
        ("RATE_LIMITS_TEST_SEND", "often"),
        ("SMTP_SECURITY", "perhaps"),
        ("SMTP_FROM", "nobody"),
    ):
        variables = {"STELLA_CONFIG": str(tmp_path / "none"), f"STELLA_NOTIFY_{name}": value}
        local = Local(settings.load({"dataDir": str(tmp_path)}, variables))
        with pytest.raises(InvalidInput, match=r"notify\.(rateLimits|smtp)"):
            create_app(local)
        local.queue.close()


class ByTestClient(Connection):
    """A connection of the client to the API of a test, without a network."""

    def __init__(self, asked: Api) -> None:
        object.__setattr__(self, "_api", asked)

    def _asked(
        self, method: str, path: str, query: Any = None, body: Any = None, *, patience: float = 0,
        key: str | None = None,
    ) -> bytes:  # fmt: skip
        del patience
        asked: Api = object.__getattribute__(self, "_api")
        told = {name: value for name, value in (query or {}).items() if value is not None}
        headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
        answer = asked.ask(method, path, params=told, content=body, headers=headers)
        assert answer.status_code < 400, answer.text
        return bytes(answer.content)


def test_a_server_and_a_data_directory_say_the_same(fresh: Api, receiver: Receiver) -> None:
    remote, local = RemoteNotify(ByTestClient(fresh)), LocalNotify(fresh.local, "default")
    assert remote.channel("hook") == local.channel("hook")
    assert remote.create_channel(hook(receiver, id="second"))["id"] == "second"
    assert remote.change_channel("second", hook(receiver, name="Second"))["name"] == "Second"
    assert remote.channels() == local.channels()
    made = remote.create_rule(RULE)
    assert made == local.rule("failures")
    assert remote.change_rule("failures", RULE | {"throttle": "1h"})["throttle"] == "1h"
    assert remote.rules() == local.rules()
    assert remote.rule("failures") == local.rule("failures")
    assert remote.test_channel("hook", preview=True)["delivery"] is None
    sent = remote.test_channel("hook", text="hello")["delivery"]
    assert remote.delivery(sent["deliveryId"]) == local.delivery(sent["deliveryId"]) == sent
    receiver.answers = [(400, {}, b"no")]
    happen(fresh.local, 1)
    (failed,) = local.send_due()
    assert remote.deliveries(DeliveriesWanted(status="failed")) == [failed]
    assert remote.deliveries(DeliveriesWanted(limit=1)) == local.deliveries(DeliveriesWanted(limit=1))
    assert remote.retry(failed["deliveryId"])["status"] == "pending"
    assert remote.events() == local.events()
    assert remote.delete_rule("failures")["id"] == "failures"
    assert remote.delete_channel("second")["id"] == "second"
    with pytest.raises(NotOverServer):
        remote.send_due()
