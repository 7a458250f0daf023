"""Microsoft Teams by a webhook of its workflows, which takes Adaptive Cards: its URL is the secret."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from stellaops.adapters.notify.context import NotifyContext
from stellaops.adapters.notify.incoming import Form, IncomingWebhook
from stellaops.notify.event import Severity
from stellaops.notify.message import Message

KIND = "teams"
_COLOURS = {
    Severity.INFO: "accent",
    Severity.WARNING: "warning",
    Severity.ERROR: "attention",
    Severity.CRITICAL: "attention",
}
_MARKS = re.compile(r"([\\`*_\[\]])")


def open_provider(context: NotifyContext) -> IncomingWebhook:
    """The provider."""
    return IncomingWebhook(Form(KIND, "adaptiveCard", _body), context)


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
