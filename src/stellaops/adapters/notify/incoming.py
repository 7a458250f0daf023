"""Chats by an incoming webhook, whose URL is the secret; each kind of them has a body of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stellaops.adapters.notify.context import NotifyContext, settings_of
from stellaops.adapters.notify.posting import Letter, Poster
from stellaops.notify.channel import Channel, is_line, secret_problem
from stellaops.notify.message import Message, Rendered

_JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Form:
    """What a kind of chats takes.

    Attributes:
        kind: of the channels.
        name: of the body's form, as previews tell it.
        body: makes the JSON of a message.
    """

    kind: str
    name: str
    body: Callable[[Message], bytes]


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The secret that holds the URL of the webhook; and the room that it leads to, for people."""

    url_ref: str
    room: str = ""


class IncomingWebhook:
    """`notify.ports.Provider` of one kind of chats."""

    def __init__(self, form: Form, context: NotifyContext) -> None:
        self.kind = form.kind
        self._form, self._secrets = form, context.secrets
        self._poster = Poster(context.web, context.seconds)

    def problems(self, settings: Mapping[str, Any]) -> Sequence[str]:
        """See the port."""
        found, wrong = settings_of(_Settings, settings)
        if found is None:
            return wrong
        room = () if is_line(found.room) else ("settings.room: one line is needed",)
        return (*secret_problem("settings.urlRef", found.url_ref), *room)

    def render(self, channel: Channel, message: Message) -> Rendered:
        """See the port."""
        own = msgspec.convert(dict(channel.settings), _Settings)
        target, body = own.room or f"secret {own.url_ref}", self._form.body(message)
        return Rendered(self.kind, target, message.title, body.decode(), self._form.name, dict(_JSON))

    def send(self, channel: Channel, message: Message) -> str:
        """See the port."""
        own = msgspec.convert(dict(channel.settings), _Settings)
        url = self._secrets.read(channel.tenant, own.url_ref)
        where = f"{self.kind} channel {channel.id}"
        return self._poster.post(Letter(url, where, self._form.body(message), _JSON))
