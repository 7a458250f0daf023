"""Slack, and what takes its messages, by an incoming webhook: its URL is the secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stellaops.adapters.notify.context import NotifyContext, settings_of
from stellaops.adapters.notify.posting import Letter, Poster
from stellaops.notify.channel import Channel, is_line, secret_problem
from stellaops.notify.event import Severity
from stellaops.notify.message import Message, Rendered

KIND = "slack"
_SIGNS = {Severity.INFO: "ℹ️", Severity.WARNING: "⚠️", Severity.ERROR: "❌", Severity.CRITICAL: "🚨"}  # noqa: RUF001
_LONGEST_HEADER, _LONGEST_SECTION = 150, 2900
_JSON = {"content-type": "application/json"}


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The secret that holds the URL of the incoming webhook; and the room that it leads to, for people."""

    url_ref: str
    room: str = ""


class Slack:
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
        return Rendered(KIND, target, message.title, _body(message).decode(), "blocks", dict(_JSON))

    def send(self, channel: Channel, message: Message) -> str:
        """See the port."""
        own = msgspec.convert(dict(channel.settings), _Settings)
        url = self._secrets.read(channel.tenant, own.url_ref)
        return self._poster.post(Letter(url, f"slack channel {channel.id}", _body(message), _JSON))


def open_provider(context: NotifyContext) -> Slack:
    """The provider."""
    return Slack(context)


def _body(message: Message) -> bytes:
    event = message.event
    facts = "\n".join(f"*{_escaped(name)}:* {_escaped(value)}" for name, value in message.facts)
    todo = f"\n→ {_escaped(event.hint)}" if event.hint else ""
    blocks = [
        {
            "type": "header",
            "text": {
                "type": "plain_text",
                "text": f"{_SIGNS[event.severity]} {message.title}"[:_LONGEST_HEADER],
            },
        },
        _section(f"{_escaped(event.text)}{todo}"),
        _section(facts),
        {"type": "context", "elements": [{"type": "mrkdwn", "text": _escaped(message.delivery)}]},
    ]
    # The text is what notifications on telephones show, and what is read where no blocks are.
    return msgspec.json.encode({"text": _escaped(message.title), "blocks": blocks})


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_LONGEST_SECTION]}}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
