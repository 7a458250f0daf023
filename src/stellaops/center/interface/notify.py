"""Who is told of what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from stellaops.center.wire import Wire


@dataclass(frozen=True, slots=True)
class DeliveriesWanted:
    """Which deliveries of notifications; None restricts nothing.

    Attributes:
        status: `pending`, `delivered` or `failed`.
        event: a type, under which it was told or also told.
        limit: how many at most.
    """

    status: str | None = None
    channel: str | None = None
    rule: str | None = None
    event: str | None = None
    limit: int = 50


class Notify(Protocol):
    """Who of the tenant is told of what: channels, rules, deliveries."""

    def channels(self) -> list[Wire]:
        """Where messages go, by id: `id kind name enabled settings`."""
        ...

    def channel(self, channel_id: str) -> Wire:
        """One of them."""
        ...

    def create_channel(self, document: Mapping[str, Any]) -> Wire:
        """Make a channel."""
        ...

    def change_channel(self, channel_id: str, document: Mapping[str, Any]) -> Wire:
        """Put another channel in the place of one."""
        ...

    def delete_channel(self, channel_id: str) -> Wire:
        """Forget a channel that no rule sends to; what it was."""
        ...

    def test_channel(
        self, channel_id: str, *, text: str = "", preview: bool = False, trace_id: str = ""
    ) -> Wire:
        """Send a test: `preview`, and `delivery` with what came of it; with `preview` nothing is sent."""
        ...

    def rules(self) -> list[Wire]:
        """Who is told of what, by id."""
        ...

    def rule(self, rule_id: str) -> Wire:
        """One of them."""
        ...

    def create_rule(self, document: Mapping[str, Any]) -> Wire:
        """Make a rule."""
        ...

    def change_rule(self, rule_id: str, document: Mapping[str, Any]) -> Wire:
        """Put another rule in the place of one."""
        ...

    def delete_rule(self, rule_id: str) -> Wire:
        """Forget a rule; what it was."""
        ...

    def deliveries(self, wanted: DeliveriesWanted) -> list[Wire]:
        """What was told and what came of it, newest first."""
        ...

    def delivery(self, delivery_id: str) -> Wire:
        """One delivery."""
        ...

    def retry(self, delivery_id: str) -> Wire:
        """Have a failed delivery tried again."""
        ...

    def events(self) -> list[Wire]:
        """What rules can name: `type meaning`."""
        ...

    def send_due(self) -> list[Wire]:
        """One pass over what is to be told, where no worker does it; what came of each."""
        ...
