"""People are told by real workers, over a real mail server and HTTP, whatever is killed."""

from __future__ import annotations

import base64
import email
import email.policy
import hmac
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stellaops.bootstrap import now
from stellaops.exports.run import RunStatus
from stellaops.exports.submit_run import Submission, submit_run
from stellaops.notify.channel import Channel
from stellaops.notify.delivery import LEASE, Status
from stellaops.notify.event import Event, Severity
from stellaops.notify.rule import read
from tests.support.receivers import Receiver, mail_server, receiving
from tests.support.tools import ROOT
from tests.support.workers import TENANT, Service, service, wait_for
from tests.unit.cli.running import environment

KEY = b"a key of the receiver"
PAGE = ROOT / "docs" / "operate" / "notifications.md"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def told(tmp_path: Path, receiver: Receiver) -> Iterator[Service]:
    """A service with a channel `hook` of the default tenant, and a rule that tells it everything."""
    with service(tmp_path / "data") as found:
        found.more |= {"STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8", "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1"}
        secrets = found.local.data_dir / "notify" / "secrets" / TENANT
        secrets.mkdir(parents=True)
        (secrets / "hmac").write_bytes(KEY)
        channel(found, "hook", "webhook", url=receiver.url, secretRef="hmac")
        yield found


def channel(found: Service, name: str, kind: str, **values: Any) -> None:
    tools = found.local.notify_tools
    tools.channels.put(Channel(TENANT, name, kind, values), new=True)
    tools.rules.put(TENANT, read({"id": name, "channel": name, "events": ["*"]}), new=True)


def test_a_tenant_is_told_by_mail_that_a_base_is_missing_and_what_to_do(
    told: Service, receiver: Receiver, tmp_path: Path
) -> None:
    account = ("stella", "a good password")
    (tmp_path / "password").write_text(account[1], encoding="utf-8")
    with mail_server(tmp_path / "smtp", account) as box:
        told.more |= {
            "STELLA_NOTIFY_SMTP_HOST": "127.0.0.1", "STELLA_NOTIFY_SMTP_PORT": str(box.port),
            "STELLA_NOTIFY_SMTP_USERNAME": account[0], "STELLA_NOTIFY_SMTP_FROM": "stella@example.org",
            "STELLA_NOTIFY_SMTP_PASSWORD_FILE": str(tmp_path / "password"),
            "STELLA_NOTIFY_SMTP_CA_FILE": str(box.ca_file),
        }  # fmt: skip
        told.fill(3)
        channel(told, "mail", "email", to=["tenant@example.org"])
        told.worker()
        run = submit_run(Submission(TENANT, "mirror:delta", base="a" * 26), told.local.submit_tools)
        assert told.ended(run).error_code == "base_missing"
        wait_for(lambda: bool(box.letters), 60, lambda: told.logs)
        receiver.wait_for(1, 60)
    letter = email.message_from_bytes(box.letters[0].content, policy=email.policy.default)
    assert letter["To"] == "tenant@example.org"
    assert "mirror:delta failed: base_missing" in letter["Subject"]
    text = letter.get_content()
    assert "stella export run submit --profile mirror:full" in text
    assert run.id in text
    data = json.loads(receiver.posted[0].body)["data"]
    assert (data["also"], data["facts"]["runId"]) == (["run.failed"], run.id)
    assert told.run(run).status is RunStatus.FAILED
    assert account[1] not in told.logs


def test_the_page_says_how_a_receiver_tells_that_a_message_is_ours(told: Service, receiver: Receiver) -> None:
    """The lines of the documentation are executed on a real message, and on one that was changed."""
    happen(told, 1)
    with notifier(told):
        (posted,) = receiver.wait_for(1, 60)
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    lines = found[1]
    given: dict[str, Any] = {
        "headers": posted.headers, "body": posted.body, "secret": KEY, "base64": base64, "hmac": hmac, "time": time,
    }  # fmt: skip
    exec(lines, dict(given))  # noqa: S102 - our own documentation
    for changed in (
        {"body": posted.body.replace(b"failed", b"passed")},
        {"secret": b"another"},
        {"headers": {**posted.headers, "webhook-id": "dlv-0"}},
        {"headers": {**posted.headers, "webhook-timestamp": str(int(time.time()) - 3600)}},
    ):
        with pytest.raises(AssertionError):
            exec(lines, given | changed)  # noqa: S102


def happen(found: Service, number: int) -> None:
    at = now()
    found.local.notify_outbox.add(
        [
            Event(f"evt-{n:03}", "run.failed", at, TENANT, Severity.ERROR, f"profile/{n}", "it failed", "so")
            for n in range(number)
        ]
    )


@contextmanager
def notifier(found: Service, ahead: float = 0.0) -> Iterator[subprocess.Popen[bytes]]:
    """What tells, as a process, until it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.notifying", str(ahead)],
        env=environment(**found.variables),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()  # type: ignore[union-attr] # it is a pipe


def test_what_was_sent_when_the_process_died_comes_again_under_its_id(
    told: Service, receiver: Receiver
) -> None:
    receiver.hold = threading.Event()
    happen(told, 1)
    with notifier(told):
        receiver.wait_for(1, 60)  # it has arrived, and the answer never comes
    receiver.hold = None
    with notifier(told, LEASE.total_seconds() + 1):
        first, second = receiver.wait_for(2, 60)
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body
        deliveries = told.local.notify_deliveries
        wait_for(lambda: deliveries.list(TENANT)[0].status is Status.DELIVERED, 30)
    assert deliveries.list(TENANT)[0].attempts == 2


@pytest.mark.parametrize("kills", [3, pytest.param(25, marks=pytest.mark.slow)])
def test_nothing_is_lost_however_often_what_tells_is_killed(
    told: Service, receiver: Receiver, kills: int
) -> None:
    chance, number = random.Random(kills), kills * 8
    happen(told, number)
    for kill in range(kills):
        with notifier(told, kill * (LEASE.total_seconds() + 1)):
            time.sleep(chance.uniform(0.05, 0.6))
    deliveries = told.local.notify_deliveries
    with notifier(told, kills * (LEASE.total_seconds() + 1)):
        wait_for(lambda: deliveries.counts()[Status.DELIVERED] == number, 120)
    posted = Counter(each.headers["webhook-id"] for each in receiver.posted)
    assert set(posted) == {each.id for each in deliveries.list(TENANT, limit=1000)}
    assert len(posted) == number
    # What was under way in a process that died, one for each kill at most, comes twice.
    assert sum(posted.values()) - number <= kills
