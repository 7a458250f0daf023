"""Every kind of channels, with a real mail server and a real HTTP receiver on this machine."""

from __future__ import annotations

import base64
import email
import email.policy
import hmac
import json
import pkgutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stellaops.adapters.notify import providers
from stellaops.adapters.notify.context import BadMailSettings, Mail, NotifyContext, Secrets
from stellaops.adapters.notify.providers.email import demand_mail
from stellaops.adapters.notify.registry import KnownProviders, openers
from stellaops.adapters.web.client import WebSettings
from stellaops.core.egress import AddressRefused, EgressPolicy, Offline, SchemeRefused
from stellaops.notify.channel import Channel, demand_sound
from stellaops.notify.errors import DeliveryFailed, DeliveryRefused, InvalidChannel, MailUnset, SecretMissing
from stellaops.notify.event import Event, Severity
from stellaops.notify.message import Message
from tests.support.receivers import Mailbox, Receiver, mail_server, receiving

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ACCOUNT = ("stella", "a good password")
URL_SECRET = "T0K3N-in-the-path"  # noqa: S105 - no real one
HERE = EgressPolicy(private=(ip_network("127.0.0.0/8"),), plain_hosts=frozenset({"127.0.0.1"}))
EVENT = Event(
    "evt-1", "run.failed", NOON, "acme", Severity.ERROR, "profile/trivy:db", "a run of trivy:db failed: signing",
    "the vault <kms> & its *key* are away", "Check the key.", {"runId": "run-1", "errorCode": "signing"},
)  # fmt: skip
MESSAGE = Message("dlv-1", EVENT, held_back=2)


@dataclass
class World:
    """What providers work with."""

    context: NotifyContext

    def secret(self, name: str, text: str) -> None:
        file = self.context.secrets.root / "acme" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def channel(self, kind: str, **settings: Any) -> Channel:
        found = KnownProviders(self.context)
        judges = {each: found.of(each).problems for each in found.kinds()}
        return demand_sound(Channel("acme", "ops", kind, settings), judges)

    def send(self, channel: Channel, message: Message = MESSAGE) -> str:
        return KnownProviders(self.context).of(channel.kind).send(channel, message)


def world(place: Path, *, mail: Mail | None = None, policy: EgressPolicy = HERE, seconds: float = 5) -> World:
    secrets = Secrets(place / "secrets")
    return World(NotifyContext(secrets, mail or Mail(), WebSettings(policy), lambda: NOON, seconds))


@pytest.fixture
def here(tmp_path: Path) -> World:
    return world(tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def test_every_module_that_lies_there_is_a_kind_of_channels(here: World) -> None:
    modules = {each.name for each in pkgutil.iter_modules(providers.__path__)}
    assert set(openers()) == modules == {"email", "slack", "teams", "webhook"}
    found = KnownProviders(here.context)
    for kind in found.kinds():
        assert found.of(kind).kind == kind
        assert found.of(kind).problems({}), "something has to be said"
        assert found.of(kind).problems({"colour": "red"})
    with pytest.raises(InvalidChannel, match="pigeon"):
        found.of("pigeon")


SETTINGS: dict[str, dict[str, Any]] = {
    "email": {"to": ["ops@example.org"]},
    "slack": {"urlRef": "hook", "room": "#export-center-ops"},
    "teams": {"urlRef": "hook"},
    "webhook": {"urlRef": "hook", "secretRef": "hmac", "authorizationRef": "bearer"},
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_preview_shows_everything_but_secrets_and_needs_none(here: World, kind: str) -> None:
    channel = here.channel(kind, **SETTINGS[kind])
    shown = (
        KnownProviders(here.context)
        .of(kind)
        .render(channel, MESSAGE)
        .to_wire("0af7651916cd43dd8448eb211c80319c")
    )
    assert list(shown) == ["channelKind", "target", "title", "body", "format", "headers", "traceId"]
    assert shown["channelKind"] == kind
    assert shown["title"] == "[error] acme: a run of trivy:db failed: signing"
    formats = {"email": "text", "slack": "blocks", "teams": "adaptiveCard", "webhook": "json"}
    assert shown["format"] == formats[kind]
    for fact in (
        ("run-1", "2 more like this", "dlv-1") if kind != "webhook" else ("run-1", '"heldBack":2', "dlv-1")
    ):
        assert fact in shown["body"]
    here.secret("hook", f"https://hooks.example.org/{URL_SECRET}")
    here.secret("hmac", "0123456789abcdef")
    here.secret("bearer", "Bearer very-secret")
    again = KnownProviders(here.context).of(kind).render(channel, MESSAGE)
    for hidden in (URL_SECRET, "0123456789abcdef", "very-secret"):
        assert hidden not in json.dumps(again.to_wire(""))


def test_a_webhook_is_signed_so_that_three_lines_can_tell(here: World, receiver: Receiver) -> None:
    here.secret(
        "hmac", "whsec_" + base64.b64encode(b"a key of the receiver").decode() + "\n\nthe key before it\n"
    )
    here.secret("bearer", "Bearer very-secret\n")
    channel = here.channel("webhook", url=f"{receiver.url}/hook", secretRef="hmac", authorizationRef="bearer")
    assert here.send(channel) == "200 ok"
    (posted,) = receiver.posted
    headers, body = posted.headers, posted.body
    assert (headers["webhook-id"], headers["authorization"]) == ("dlv-1", "Bearer very-secret")
    assert int(headers["webhook-timestamp"]) == int(NOON.timestamp())
    told = json.loads(body)
    assert (told["id"], told["type"], told["data"]["facts"]["errorCode"]) == (
        "dlv-1",
        "run.failed",
        "signing",
    )
    for secret in (b"a key of the receiver", b"the key before it"):
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        good = "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
        assert good in headers["webhook-signature"].split()
    here.secret("hmac", "short")
    with pytest.raises(SecretMissing, match="16 bytes"):
        here.send(channel)
    here.secret("hmac", "whsec_no base64!")
    with pytest.raises(SecretMissing):
        here.send(channel)


def test_slack_is_sent_blocks_in_which_no_text_is_a_mark(here: World, receiver: Receiver) -> None:
    here.secret("hook", f"{receiver.url}/services/{URL_SECRET}\n")
    assert here.send(here.channel("slack", **SETTINGS["slack"])) == "200 ok"
    (posted,) = receiver.posted
    assert posted.path == f"/services/{URL_SECRET}"
    told = json.loads(posted.body)
    assert told["text"].startswith("[error] acme: ")
    assert [each["type"] for each in told["blocks"]] == ["header", "section", "section", "context"]
    assert "vault &lt;kms&gt; &amp; its" in told["blocks"][1]["text"]["text"]
    assert len(told["blocks"][0]["text"]["text"]) <= 150


def test_teams_is_sent_an_adaptive_card(here: World, receiver: Receiver) -> None:
    receiver.answers = [(202, {}, b"")]
    here.secret("hook", f"{receiver.url}/workflows/{URL_SECRET}")
    assert here.send(here.channel("teams", **SETTINGS["teams"])) == "202"
    (attachment,) = json.loads(receiver.posted[0].body)["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"], card["body"][0]["color"]) == ("AdaptiveCard", "1.4", "attention")
    assert card["body"][1]["text"] == r"the vault <kms> & its \*key\* are away"
    facts = next(each["facts"] for each in card["body"] if each["type"] == "FactSet")
    assert {"title": "errorCode", "value": "signing"} in facts


@pytest.mark.parametrize(
    ("status", "again"), [(500, True), (503, True), (429, True), (400, False), (404, False), (302, False)]
)
def test_what_may_be_over_later_is_told_from_what_stays(
    here: World, receiver: Receiver, status: int, again: bool
) -> None:
    receiver.answers = [
        (status, {"retry-after": "77", "location": "/elsewhere"}, f"no {URL_SECRET}".encode())
    ]
    here.secret("hook", f"{receiver.url}/{URL_SECRET}")
    with pytest.raises(DeliveryFailed if again else DeliveryRefused) as found:
        here.send(here.channel("slack", urlRef="hook"))
    assert getattr(found.value, "retry_after", None) == (77.0 if again else None)
    assert receiver.url not in found.value.what
    assert len(receiver.posted) == 1, "redirects are not followed"


def test_no_message_shows_the_url_that_is_a_secret(here: World, receiver: Receiver) -> None:
    url = f"{receiver.url}/{URL_SECRET}"
    receiver.answers = [(400, {}, f"cannot take {url}".encode())]
    here.secret("hook", url)
    channel = here.channel("slack", urlRef="hook")
    with pytest.raises(DeliveryRefused) as refused:
        here.send(channel)
    assert URL_SECRET not in refused.value.what
    forms = ("http://127.0.0.1:1/{}", "ftp://127.0.0.1/{}", "https://a b/{}", "http://user:{}@127.0.0.1/", "{}",
             "http://192.0.2.1/{}", "https://127.0.0.1:99999/{}")  # fmt: skip
    for wrong in (each.format(URL_SECRET) for each in forms):
        here.secret("hook", wrong)
        with pytest.raises(Exception) as found:  # noqa: PT011 - of whatever category
            here.send(channel)
        assert URL_SECRET not in str(found.value), wrong


def test_a_receiver_that_does_not_answer_in_time_is_given_up(tmp_path: Path, receiver: Receiver) -> None:
    here = world(tmp_path, seconds=0.3)
    receiver.hold = threading.Event()
    here.secret("hmac", "0123456789abcdef")
    channel = here.channel("webhook", url=receiver.url, secretRef="hmac")
    with pytest.raises(DeliveryFailed, match="timed out"):
        here.send(channel)
    receiver.hold.set()


def test_the_way_out_of_the_feeds_is_the_way_out_of_notifications(tmp_path: Path, receiver: Receiver) -> None:
    inside = EgressPolicy(plain_hosts=frozenset({"127.0.0.1"}))
    for policy, refusal in (
        (inside, AddressRefused),
        (EgressPolicy(private=HERE.private), SchemeRefused),
        (EgressPolicy(private=HERE.private, plain_hosts=HERE.plain_hosts, offline=True), Offline),
    ):
        guarded = world(tmp_path, policy=policy)
        guarded.secret("hmac", "0123456789abcdef")
        guarded.secret("hook", f"{receiver.url}/x")
        channels = [
            guarded.channel("webhook", url=receiver.url, secretRef="hmac"),
            guarded.channel("slack", urlRef="hook"),
            guarded.channel("teams", urlRef="hook"),
        ]
        for channel in channels:
            with pytest.raises(refusal):
                guarded.send(channel)
    assert receiver.posted == []


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("webhook", {"secretRef": "hmac"}),
        ("webhook", {"secretRef": "hmac", "url": "https://example.org/?token=x"}),
        ("webhook", {"secretRef": "hmac", "url": "https://u:p@example.org/"}),
        ("webhook", {"secretRef": "hmac", "url": "file:///etc/passwd"}),
        ("webhook", {"secretRef": "../other/hmac", "url": "https://example.org/"}),
        ("webhook", {"secretRef": "hmac", "url": "https://example.org/", "urlRef": "hook"}),
        ("slack", {"urlRef": "/etc/passwd"}),
        ("slack", {"urlRef": "https://hooks.example.org/x"}),
        ("teams", {"urlRef": ".."}),
        ("teams", {"urlRef": "hook", "room": "a\nb"}),
        ("email", {"to": []}),
        ("email", {"to": ["nobody"]}),
        ("email", {"to": ["a@b.example\r\nBcc: all@example.org"]}),
        ("email", {"to": ["a@b.example"] * 51}),
        ("carrier-pigeon", {}),
    ],
)
def test_a_channel_that_cannot_be_is_refused(here: World, kind: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidChannel):
        here.channel(kind, **settings)


def test_a_secret_that_is_not_there_is_told_by_its_file(here: World) -> None:
    channel = here.channel("slack", urlRef="hook")
    with pytest.raises(SecretMissing, match="acme/hook below"):
        here.send(channel)
    here.secret("hook", "  \n")
    with pytest.raises(SecretMissing, match="empty"):
        here.send(channel)


# ---- mail


def by_mail(place: Path, box: Mailbox, **more: Any) -> World:
    password = place / "password"
    password.write_text(more.pop("password", ACCOUNT[1]) + "\n", encoding="utf-8")
    told: dict[str, Any] = {
        "host": "127.0.0.1", "port": box.port, "username": ACCOUNT[0], "password_file": password,
        "sender": "Stella <stella@example.org>", "ca_file": box.ca_file, **more,
    }  # fmt: skip
    return world(place, mail=Mail(**told))


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    with mail_server(tmp_path_factory.mktemp("smtp"), ACCOUNT) as found:
        yield found


def test_mail_goes_over_tls_with_a_login_and_says_what_to_do(tmp_path: Path, box: Mailbox) -> None:
    here = by_mail(tmp_path, box)
    channel = here.channel("email", to=["ops@example.org", "lead@example.org"])
    assert here.send(channel) == "taken by 127.0.0.1"
    assert box.logins[-1] == ACCOUNT
    letter = box.letters[-1]
    assert (letter.mail_from, letter.rcpt_tos) == (
        "stella@example.org",
        ["ops@example.org", "lead@example.org"],
    )
    told = email.message_from_bytes(letter.content, policy=email.policy.default)
    assert told["Subject"] == "[error] acme: a run of trivy:db failed: signing"
    assert (told["Message-ID"], told["Auto-Submitted"]) == ("<dlv-1@example.org>", "auto-generated")
    text = told.get_content()
    assert "What to do: Check the key." in text
    assert "errorCode: signing" in text


def test_mail_carries_every_letter(tmp_path: Path, box: Mailbox) -> None:
    here = by_mail(tmp_path, box)
    event = msgspec.structs.replace(EVENT, title="Läuft nicht: 不可", text="grüße\n.\nzeile 😀")
    channel = here.channel("email", to=["ops@example.org"])
    here.send(channel, Message("dlv-2", event))
    told = email.message_from_bytes(box.letters[-1].content, policy=email.policy.default)
    assert told["Subject"] == "[error] acme: Läuft nicht: 不可"
    assert told.get_content().splitlines()[:3] == ["grüße", ".", "zeile 😀"]
    shown = KnownProviders(here.context).of("email").render(channel, Message("dlv-2", event))
    assert shown.body.startswith("grüße\n.\nzeile 😀\n")


def test_mail_is_not_sent_where_it_would_not_be_safe(tmp_path: Path, box: Mailbox) -> None:
    before = len(box.letters)
    for more, refusal in (
        ({"password": "another"}, DeliveryRefused),
        ({"ca_file": None}, DeliveryFailed),
        ({"security": "none"}, BadMailSettings),
        ({"security": "none", "username": ""}, DeliveryRefused),
        ({"password_file": tmp_path / "missing"}, SecretMissing),
        ({"port": 1}, DeliveryFailed),
        ({"host": ""}, MailUnset),
    ):
        here = by_mail(tmp_path, box, **more)
        with pytest.raises(refusal) as found:
            here.send(here.channel("email", to=["ops@example.org"]))
        assert ACCOUNT[1] not in found.value.what
    assert len(box.letters) == before


def test_those_whom_the_server_does_not_take_are_told(tmp_path: Path, box: Mailbox) -> None:
    here = by_mail(tmp_path, box)
    box.refuse = {"gone@example.org": "550 no such user", "full@example.org": "452 full"}
    try:
        some = here.channel("email", to=["ops@example.org", "gone@example.org"])
        assert here.send(some) == "taken for 1 of 2; refused for gone@example.org: 550 no such user"
        with pytest.raises(DeliveryRefused, match="no such user"):
            here.send(here.channel("email", to=["gone@example.org"]))
        with pytest.raises(DeliveryFailed, match="452 full"):
            here.send(here.channel("email", to=["full@example.org"]))
    finally:
        box.refuse = {}


def test_mail_over_tls_from_the_first_byte(tmp_path: Path) -> None:
    with mail_server(tmp_path / "smtp", ACCOUNT, tls="tls") as box:
        here = by_mail(tmp_path, box, security="tls")
        assert here.send(here.channel("email", to=["ops@example.org"])) == "taken by 127.0.0.1"
        assert box.logins == [ACCOUNT]


def test_mail_goes_to_the_domains_that_are_allowed_alone(tmp_path: Path, box: Mailbox) -> None:
    here = by_mail(tmp_path, box, domains=("example.org",))
    here.channel("email", to=["ops@Example.org"])
    with pytest.raises(InvalidChannel, match="allowDomains"):
        here.channel("email", to=["ops@example.com"])


def test_settings_of_mail_that_cannot_be_are_told() -> None:
    for wrong in (Mail(security="maybe"), Mail(sender="nobody")):
        with pytest.raises(BadMailSettings):
            demand_mail(wrong)
