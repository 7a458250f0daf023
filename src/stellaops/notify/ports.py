"""What notifications need from the outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from stellaops.notify.channel import Channel
from stellaops.notify.delivery import Delivery, Status
from stellaops.notify.event import Event
from stellaops.notify.message import Message, Rendered
from stellaops.notify.rule import Rule


class Channels(Protocol):
    """The channels of all tenants."""

    def get(self, tenant: str, channel: str) -> Channel | None:
        """One by id."""

    def list(self, tenant: str) -> Sequence[Channel]:
        """Those of a tenant, by id."""

    def put(self, channel: Channel, *, new: bool) -> None:
        """Store a channel; over the one of its id, unless it is to be new.

        Raises:
            ChannelExists: it is to be new, and there is one.
        """

    def delete(self, tenant: str, channel: str) -> bool:
        """Forget one; whether it was there."""


class Rules(Protocol):
    """The rules of all tenants."""

    def get(self, tenant: str, rule: str) -> Rule | None:
        """One by id."""

    def list(self, tenant: str) -> Sequence[Rule]:
        """Those of a tenant, by id."""

    def enabled(self) -> Sequence[tuple[str, Rule]]:
        """Those of all tenants that are in force, with whose they are."""

    def put(self, tenant: str, rule: Rule, *, new: bool) -> None:
        """Store a rule; over the one of its id, unless it is to be new.

        Raises:
            RuleExists: it is to be new, and there is one.
        """

    def delete(self, tenant: str, rule: str) -> bool:
        """Forget one; whether it was there."""


Throttled = Callable[[str, Rule, Event], int | None]
"""Asked whether a rule of a tenant may tell of an event; how many were held back since the last, None for no."""
Expand = Callable[[Event, Throttled], Sequence[Delivery]]
"""Which deliveries an event makes."""


class Outbox(Protocol):
    """Events that no rule has been asked about yet, written in the transactions of what they tell of."""

    def add(self, events: Sequence[Event]) -> None:
        """Add events, where there is a rule at all."""

    def expand(self, expand: Expand, limit: int) -> int:
        """Turn the oldest events into deliveries, each exactly once; how many were."""

    def waiting(self) -> tuple[int, datetime | None]:
        """How many wait, and since when the oldest does."""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries; None restricts nothing. `event` is a type, under which it was told or also told."""

    status: Status | None = None
    channel: str | None = None
    rule: str | None = None
    event: str | None = None


EVERY_DELIVERY = DeliveryFilter()


class Deliveries(Protocol):
    """All deliveries that are kept."""

    def add(self, delivery: Delivery) -> None:
        """Keep one."""

    def get(self, tenant: str, delivery: str) -> Delivery | None:
        """One by id."""

    def list(
        self,
        tenant: str,
        which: DeliveryFilter = EVERY_DELIVERY,
        *,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Delivery]:
        """Those of a tenant, newest first; those after the one with the id `before` in that order."""

    def due(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """Pending ones whose time has come and that are in nobody's hands, the one that waits longest first."""

    def claim(self, delivery: Delivery, now: datetime) -> Delivery | None:
        """Take one into one's hands for a while, its attempts counted up; None where another has it, or had."""

    def settle(self, delivery: Delivery) -> bool:
        """Write what came of an attempt; False where another has taken it over meanwhile."""

    def restart(self, delivery: Delivery) -> bool:
        """Write a delivery that has failed and is to be tried anew; False where it has not failed."""

    def counts(self) -> Mapping[Status, int]:
        """How many there are in each state, of all tenants."""

    def prune(self, before: datetime) -> int:
        """Forget what ended before an instant; how many."""


class Provider(Protocol):
    """Sends through one kind of channels."""

    @property
    def kind(self) -> str:
        """Its name in channels."""

    def problems(self, settings: Mapping[str, Any]) -> Sequence[str]:
        """What is wrong with a channel's settings, a sentence each."""

    def render(self, channel: Channel, message: Message) -> Rendered:
        """A message as it would go out. No secret is read for it."""

    def send(self, channel: Channel, message: Message) -> str:
        """Send a message; what the receiver said, in a few words and without secrets.

        Raises:
            DeliveryFailed: a later attempt may do.
            StellaError: of another category: none will.
        """


class Providers(Protocol):
    """Every provider that there is."""

    def of(self, kind: str) -> Provider:
        """The one of a kind.

        Raises:
            InvalidChannel: there is none.
        """

    def kinds(self) -> Sequence[str]:
        """All kinds, sorted."""
