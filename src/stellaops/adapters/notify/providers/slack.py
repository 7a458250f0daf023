"""Slack, and what takes its messages, by an incoming webhook: its URL is the secret."""

from __future__ import annotations

from typing import Any

import msgspec

from stellaops.adapters.notify.context import NotifyContext
from stellaops.adapters.notify.incoming import Form, IncomingWebhook
from stellaops.notify.event import Severity
from stellaops.notify.message import Message

KIND = "slack"
_SIGNS = {Severity.INFO: "ℹ️", Severity.WARNING: "⚠️", Severity.ERROR: "❌", Severity.CRITICAL: "🚨"}  # noqa: RUF001
_LONGEST_HEADER, _LONGEST_SECTION = 150, 2900


def open_provider(context: NotifyContext) -> IncomingWebhook:
    """The provider."""
    return IncomingWebhook(Form(KIND, "blocks", _body), context)


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
