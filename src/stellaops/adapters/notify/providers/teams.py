"""Microsoft Teams by a webhook of its workflows, which takes Adaptive Cards: its URL is the secret."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stellaops.adapters.notify.context import NotifyContext, settings_of
from stellaops.adapters.notify.posting import Letter, Poster
from stellaops.notify.channel import Channel, is_line, secret_problem
from stellaops.notify.event import Severity
from stellaops.notify.message import Message, Rendered

KIND = "teams"
_COLOURS = {
    Severity.INFO: "accent",
    Severity.WARNING: "warning",
    Severity.ERROR: "attention",
    Severity.CRITICAL: "attention",
}
_MARKS = re.compile(r"([\\`*_\[\]])")
_JSON = {"content-type": "application/json"}


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The secret that holds the URL of the workflow's webhook; and the room that it leads to, for people."""

    url_ref: str
    room: str = ""


class Teams:
    """`notify.ports.Provider`."""

    kind = KIND

    def __init__(self, context: NotifyContext) -> None:
        self._secrets = context.secrets
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
        target = own.room or f"secret {own.url_ref}"
        return Rendered(KIND, target, message.title, _body(message).decode(), "adaptiveCard", dict(_JSON))

    def send(self, channel: Channel, message: Message) -> str:
        """See the port."""
        own = msgspec.convert(dict(channel.settings), _Settings)
        url = self._secrets.read(channel.tenant, own.url_ref)
        return self._poster.post(Letter(url, f"teams channel {channel.id}", _body(message), _JSON))


def open_provider(context: NotifyContext) -> Teams:
    """The provider."""
    return Teams(context)


def _body(message: Message) -> bytes:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "fallbackText": message.title,
        "body": _parts(message),
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return msgspec.json.encode({"type": "message", "attachments": [attachment]})


def _parts(message: Message) -> list[dict[str, Any]]:
    event = message.event
    title = {
        "type": "TextBlock", "text": _plain(message.title), "weight": "bolder", "size": "medium", "wrap": True,
        "color": _COLOURS[event.severity],
    }  # fmt: skip
    texts = [event.text, *([f"→ {event.hint}"] if event.hint else [])]
    facts = [{"title": name, "value": _plain(value)} for name, value in message.facts]
    return [
        title,
        *({"type": "TextBlock", "text": _plain(text), "wrap": True} for text in texts),
        {"type": "FactSet", "facts": facts},
        {
            "type": "TextBlock",
            "text": _plain(message.delivery),
            "isSubtle": True,
            "size": "small",
            "wrap": True,
        },
    ]


def _plain(text: str) -> str:
    """A text that a card shows as it is: its own marks would be bold letters and links."""
    return _MARKS.sub(r"\\\1", text)
