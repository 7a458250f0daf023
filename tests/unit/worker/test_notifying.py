"""The thread that tells people: one worker of all, whatever receivers do; what it notices by looking."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.settings import load as settings
from stellaops.authority.actors import OPERATOR
from stellaops.authority.download_tokens import Wanted as TokenWanted
from stellaops.authority.manage_clients import ClientTools, Wanted, create_client, rotate_secret
from stellaops.bootstrap import Local, now
from stellaops.bundles import freshness
from stellaops.center import notifying
from stellaops.center.downloads import LocalDownloads
from stellaops.core.errors import DependencyFailed
from stellaops.exports.issue_freshness import Signed
from stellaops.mirrors.domain import Document, Domain
from stellaops.notify.channel import Channel
from stellaops.notify.delivery import Status
from stellaops.notify.event import Event, Severity
from stellaops.notify.rule import read
from stellaops.worker import notifying as module
from stellaops.worker.notifying import Notifier
from tests.support.receivers import Receiver, receiving

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def local(tmp_path: Path, receiver: Receiver) -> Local:
    """A data directory whose rules tell everything to two channels of the receiver."""
    variables = {
        "STELLA_CONFIG": str(tmp_path / "none"), "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8",
        "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1",
    }  # fmt: skip
    made = Local(settings.load({"dataDir": str(tmp_path / "data")}, variables))
    secrets = tmp_path / "data" / "notify" / "secrets" / "default"
    secrets.mkdir(parents=True)
    (secrets / "hmac").write_text("0123456789abcdef", encoding="utf-8")
    for name in ("one", "two"):
        told: dict[str, Any] = {"url": f"{receiver.url}/{name}", "secretRef": "hmac"}
        made.notify_tools.channels.put(Channel("default", name, "webhook", told), new=True)
        rule = read({"id": name, "channel": name, "events": ["*"], "everyTenant": True})
        made.notify_tools.rules.put("default", rule, new=True)
    return made


def happen(local: Local, topic: str, at: datetime | None = None) -> None:
    moment = at or now()
    local.notify_outbox.add(
        [Event(f"evt-{topic}", "run.failed", moment, "default", Severity.ERROR, topic, "failed", "so")]
    )


def wait_until(what: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    assert what()


def test_one_of_two_workers_tells_and_the_other_goes_on_when_it_ends(
    local: Local, receiver: Receiver
) -> None:
    first, second = Notifier(local, "first", now), Notifier(local, "second", now)
    assert (first.once(), second.once()) == (True, False)
    happen(local, "a")
    assert first.once()
    assert len(receiver.wait_for(2)) == 2
    first.stop()
    happen(local, "b")
    assert second.once()
    assert len(receiver.wait_for(4)) == 4
    second.settle()
    assert {each.status for each in local.notify_deliveries.list("default")} == {Status.DELIVERED}
    second.stop()


def test_a_receiver_that_hangs_holds_up_its_own_messages_alone(local: Local, receiver: Receiver) -> None:
    hold, slow = threading.Event(), receiver
    slow.hold = hold
    with receiving() as quick:
        quickly = {"url": quick.url, "secretRef": "hmac"}
        local.notify_tools.channels.put(Channel("default", "two", "webhook", quickly), new=False)
        notifier = Notifier(local, "first", now)
        for topic in "abc":
            happen(local, topic)
        for _ in range(30):
            notifier.once()
            time.sleep(0.05)
        assert len(quick.posted) == 3
        assert len(slow.posted) == 1, "one at a time"
        hold.set()
        for _ in range(30):
            notifier.once()
            time.sleep(0.05)
        assert len(slow.posted) == 3
        notifier.settle()
        notifier.stop()


def test_many_messages_go_out_in_one_pass_and_a_receiver_that_is_down_is_not_hammered(
    local: Local, receiver: Receiver
) -> None:
    local.notify_tools.rules.delete("default", "two")
    notifier = Notifier(local, "first", now)
    for number in range(12):
        happen(local, f"a{number}")
    notifier.once()
    notifier.settle()
    assert len(receiver.posted) == 12
    receiver.answers = [(503, {}, b"down")] * 9
    for number in range(5):
        happen(local, f"b{number}")
    notifier.once()
    notifier.settle()
    assert len(receiver.posted) == 13
    notifier.stop()


def test_the_thread_goes_on_whatever_fails(
    local: Local, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "TICK", 0.02)
    faults: list[Exception] = [DependencyFailed("the store is away"), OSError("disk"), ValueError("a flaw")]
    real = notifying.due

    def shaky(found: Local, most: int = 200) -> Any:
        if faults:
            raise faults.pop(0)
        return real(found, most)

    monkeypatch.setattr(notifying, "due", shaky)
    happen(local, "a")
    notifier = Notifier(local, "first", now)
    with caplog.at_level(logging.INFO, "stellaops.notify"):
        notifier.start()
        receiver.wait_for(2)
        wait_until(lambda: not local.notify_deliveries.due(now() + DAY, 10))
        notifier.stop()
    events = [vars(record).get("event") for record in caplog.records]
    assert events.count("notify.delivered") == 2
    assert "a flaw" in caplog.text


def told(local: Local) -> list[tuple[str, str, str]]:
    """What was noticed and not told yet: type, topic, severity."""
    found: list[tuple[str, str, str]] = []

    def keep(event: Event, _throttled: Any) -> list[Any]:
        found.append((event.type, event.topic, event.severity.value))
        return []

    local.notify_outbox.expand(keep, 100)
    return found


def test_retention_that_does_not_happen_is_noticed(local: Local, tmp_path: Path) -> None:
    began = now()
    assert notifying.look(local, began) == 0
    assert notifying.look(local, began + 26 * HOUR) == 0
    assert notifying.look(local, began + 27 * HOUR) == 1
    assert told(local) == [("retention.stale", "retention", "error")]
    local.chores.finished("retention", began + 27 * HOUR, ok=True, report={})
    assert notifying.look(local, began + 28 * HOUR) == 0
    assert notifying.look(local, began + 54 * HOUR) == 1
    switched_off = settings.load({"dataDir": str(tmp_path / "data")}, {"STELLA_CHORES_RETENTION_AT": "off"})
    assert list(notifying.conditions(Local(switched_off), began + 99 * HOUR)) == []


def test_a_domain_that_is_not_published_is_noticed_and_again_when_it_expires(local: Local) -> None:
    began = now().replace(microsecond=0)
    local.mirror_domains.put(Domain("default", Document(id="primary", cadence="4h")))
    local.mirror_domains.put(Domain("default", Document(id="never", cadence="4h")))
    made = freshness.issue(
        "default", "mirror/concelier/primary", "a" * 26, 1, [], now=began, cadence=timedelta(hours=4)
    )
    signed = Signed(1, freshness.encode(made), b"")
    local.statements.put("default", "mirror/concelier/primary", signed)
    assert notifying.look(local, began + 6 * HOUR) == 0
    assert notifying.look(local, began + 7 * HOUR) == 1
    assert notifying.look(local, began + 8 * HOUR) == 0
    assert notifying.look(local, began + 12 * HOUR) == 1
    topic = "domain/concelier/primary"
    assert told(local) == [("mirror.stale", topic, "warning"), ("mirror.stale", topic, "critical")]


def test_what_ends_soon_or_is_too_old_is_noticed(local: Local) -> None:
    began = now()
    tools = ClientTools(local.clients, local.tenants)
    wanted = Wanted("ci", "CI", tenants=("default",), scopes=("export:read",))
    client = create_client(tools, OPERATOR, wanted, now=began).client
    downloads = LocalDownloads(local, "default", "test", lambda change: None)
    made = downloads.create_token(TokenWanted("edge", life=timedelta(days=30)))
    downloads.create_token(TokenWanted("edge", life=timedelta(days=300)))
    assert notifying.look(local, began + HOUR) == 0
    assert notifying.look(local, began + 15 * DAY) == 0 or told(local) == [
        ("retention.stale", "retention", "error")
    ]
    local.chores.finished("retention", began + 200 * DAY, ok=True, report={})
    assert notifying.look(local, began + 17 * DAY) == 1
    assert notifying.look(local, began + 28 * DAY) == 1
    token = f"download-token/{made['tokenId']}"
    assert told(local) == [("key.expiring", token, "warning"), ("key.expiring", token, "error")]
    assert notifying.look(local, began + 31 * DAY) == 0
    assert notifying.look(local, began + 91 * DAY) == 1
    assert told(local) == [("key.expiring", f"client-secret/{client.id}/1", "warning")]
    rotate_secret(tools, OPERATOR, client.id, now=began + 92 * DAY, overlap=DAY)
    assert notifying.look(local, began + 92 * DAY) == 0, "nobody has used the one that ends"
    local.clients.note_use(client.id, 1, began + 92 * DAY + HOUR)
    assert notifying.look(local, began + 92 * DAY + 2 * HOUR) == 1
    assert told(local) == [("key.expiring", f"client-secret/{client.id}/1", "error")]
