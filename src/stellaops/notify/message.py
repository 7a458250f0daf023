"""What a channel is given to say; each provider puts it into the form of its receivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stellaops.core import timestamps
from stellaops.notify.event import Event

HIDDEN = "***"
"""In place of what opens something."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event in words.

    Attributes:
        delivery: id of the delivery: the same at every attempt, so that receivers can tell a second one.
        held_back: how many like it a rule's throttle has kept back since the last one.
        test: whether it only tries the channel.
    """

    delivery: str
    event: Event
    held_back: int = 0
    test: bool = False

    @property
    def title(self) -> str:
        """A line: whose it is, what happened."""
        whose = self.event.tenant or "installation"
        return f"[{self.event.severity.value}] {whose}: {self.event.title}"

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What is known, name and value."""
        event = self.event
        own = [("event", event.type), ("at", timestamps.render(event.at)), *event.facts.items()]
        if self.held_back:
            own.append(("held back", f"{self.held_back} more like this since the last message"))
        return tuple(own)

    @property
    def lines(self) -> tuple[str, ...]:
        """The same as text: what happened, what to do, what is known."""
        event = self.event
        todo = (f"What to do: {event.hint}", "") if event.hint else ()
        facts = (f"{name}: {value}" for name, value in (*self.facts, ("delivery", self.delivery)))
        return (event.text, "", *todo, *facts)

    def to_wire(self) -> dict[str, Any]:
        """What webhooks are sent."""
        event = self.event
        return {
            "id": self.delivery,
            "type": event.type,
            "timestamp": timestamps.render(event.at),
            "data": {
                "eventId": event.id,
                "tenant": event.tenant or None,
                "severity": event.severity.value,
                "topic": event.topic,
                "also": list(event.also),
                "title": event.title,
                "text": event.text,
                "hint": event.hint or None,
                "facts": dict(event.facts),
                "heldBack": self.held_back,
                "test": self.test,
            },
        }


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message as it goes out, and as it may be shown.

    Attributes:
        kind: of the channel.
        target: where it goes, without what opens it.
        body: what is sent, as text.
        format: of the body: `text`, `blocks`, `adaptiveCard`, `json`.
        headers: what goes with it; what opens something is `***`.
    """

    kind: str
    target: str
    title: str
    body: str
    format: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_wire(self, trace_id: str) -> dict[str, Any]:
        """The preview as scripts read it."""
        return {
            "channelKind": self.kind,
            "target": self.target,
            "title": self.title,
            "body": self.body,
            "format": self.format,
            "headers": dict(self.headers),
            "traceId": trace_id,
        }
