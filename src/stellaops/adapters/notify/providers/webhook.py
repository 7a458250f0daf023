"""Webhooks: JSON, signed as Standard Webhooks asks: HMAC-SHA256 over id, timestamp and body."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stellaops.adapters.notify.context import NotifyContext, Secrets, settings_of
from stellaops.adapters.notify.posting import Letter, Poster
from stellaops.core.egress import redacted, target_of
from stellaops.core.errors import StellaError
from stellaops.notify.channel import Channel, secret_problem
from stellaops.notify.errors import SecretMissing
from stellaops.notify.message import HIDDEN, Message, Rendered

KIND = "webhook"
_PREFIX = "whsec_"
_LEAST = 16
"""Bytes of a secret that is worth signing with."""


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`url`, or the secret that holds it; the secret that signs; the secret with an `Authorization` header."""

    secret_ref: str
    url: str = ""
    url_ref: str = ""
    authorization_ref: str = ""


class Webhook:
    """`notify.ports.Provider`."""

    kind = KIND

    def __init__(self, context: NotifyContext) -> None:
        self._context = context
        self._poster = Poster(context.web, context.seconds)

    def problems(self, settings: Mapping[str, Any]) -> Sequence[str]:
        """See the port."""
        found, wrong = settings_of(_Settings, settings)
        return wrong if found is None else tuple(_problems(found))

    def render(self, channel: Channel, message: Message) -> Rendered:
        """See the port."""
        own = _own(channel)
        target = redacted(own.url) if own.url else f"secret {own.url_ref}"
        headers = _headers(message) | {
            "webhook-timestamp": "(when it is sent)",
            "webhook-signature": f"v1,{HIDDEN}",
        }
        if own.authorization_ref:
            headers["authorization"] = HIDDEN
        return Rendered(KIND, target, message.title, _body(message).decode(), "json", headers)

    def send(self, channel: Channel, message: Message) -> str:
        """See the port."""
        own, secrets, tenant = _own(channel), self._context.secrets, channel.tenant
        url = own.url or secrets.read(tenant, own.url_ref)
        keys = _keys(secrets, tenant, own.secret_ref)
        body, at = _body(message), int(self._context.now().timestamp())
        headers = _headers(message) | {
            "webhook-timestamp": str(at),
            "webhook-signature": " ".join(signature(key, message.delivery, at, body) for key in keys),
        }
        opened: tuple[str, ...] = ()
        if own.authorization_ref:
            opened = (_header(secrets, tenant, own.authorization_ref),)
            headers["authorization"] = opened[0]
        where = f"webhook {redacted(own.url) if own.url else channel.id}"
        return self._poster.post(Letter(url, where, body, headers, opened))


def open_provider(context: NotifyContext) -> Webhook:
    """The provider."""
    return Webhook(context)


def signature(key: bytes, delivery: str, at: int, body: bytes) -> str:
    """What proves a message: `v1,` and base64 of HMAC-SHA256 over `delivery.at.body`.

    Args:
        at: seconds since 1970.
    """
    signed = f"{delivery}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _own(channel: Channel) -> _Settings:
    return msgspec.convert(dict(channel.settings), _Settings)


def _headers(message: Message) -> dict[str, str]:
    return {"content-type": "application/json", "webhook-id": message.delivery}


def _body(message: Message) -> bytes:
    return msgspec.json.encode(message.to_wire())


def _keys(secrets: Secrets, tenant: str, name: str) -> list[bytes]:
    """The keys of a secret, a line each: two while the one is exchanged for the other.

    Raises:
        SecretMissing: one is no key.
    """
    keys = [_key(line.strip()) for line in secrets.read(tenant, name).splitlines() if line.strip()]
    if any(len(key) < _LEAST for key in keys):
        where = secrets.where(tenant, name)
        raise SecretMissing(f"{where} holds a key of less than {_LEAST} bytes, or no base64 after {_PREFIX}")
    return keys


def _key(line: str) -> bytes:
    if not line.startswith(_PREFIX):
        return line.encode()
    try:
        return base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        return b""


def _header(secrets: Secrets, tenant: str, name: str) -> str:
    value = secrets.read(tenant, name)
    if not (value.isascii() and value.isprintable()):
        raise SecretMissing(f"{secrets.where(tenant, name)} holds no value of an Authorization header")
    return value


def _problems(own: _Settings) -> Iterator[str]:
    yield from secret_problem("settings.secretRef", own.secret_ref)
    if bool(own.url) == bool(own.url_ref):
        yield "settings: exactly one of url and urlRef is needed"
    for field, name in (
        ("settings.urlRef", own.url_ref),
        ("settings.authorizationRef", own.authorization_ref),
    ):
        if name:
            yield from secret_problem(field, name)
    if own.url:
        yield from url_problems(own.url)


def url_problems(url: str) -> Iterator[str]:
    """What is wrong with a URL that everybody may see."""
    try:
        target_of(url)
    except StellaError as error:
        yield f"settings.url: {error.what}"
        return
    if "?" in url or "#" in url:
        yield "settings.url: what stands after ? may open something; put the URL into a secret and name it in urlRef"
