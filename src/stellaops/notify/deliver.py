"""From events to messages that have arrived."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stellaops.core.errors import DependencyFailed, MissingPrerequisite, StellaError
from stellaops.notify.delivery import Delivery, Status, delivery_id, next_attempt
from stellaops.notify.errors import ChannelNotFound, DeliveryNotFailed, DeliveryNotFound, InvalidChannel
from stellaops.notify.event import TEST, Event, Severity, event_id, shortened
from stellaops.notify.message import Message, Rendered
from stellaops.notify.ports import Channels, Deliveries, Expand, Outbox, Providers, Rules, Throttled
from stellaops.notify.rule import Rule, applies, quiet_until

BATCH = 100
"""Events that are expanded in one transaction."""


@dataclass(frozen=True, slots=True)
class NotifyTools:
    """What notifications work with.

    Attributes:
        attempts: how often a delivery is tried.
        keep: how long ended deliveries are remembered.
        chance: from 0 to 1.
        token: 12 hex digits that nobody guesses.
    """

    channels: Channels
    rules: Rules
    outbox: Outbox
    deliveries: Deliveries
    providers: Providers
    attempts: int
    keep: timedelta
    now: Callable[[], datetime]
    chance: Callable[[], float]
    token: Callable[[], str]


def expand_events(tools: NotifyTools) -> int:
    """Ask the rules about every event that waits; how many there were."""
    if not tools.outbox.waiting()[0]:
        return 0
    total, expand = 0, expander(tools.rules.enabled(), tools)
    while done := tools.outbox.expand(expand, BATCH):
        total += done
        if done < BATCH:
            break
    return total


def expander(rules: Sequence[tuple[str, Rule]], tools: NotifyTools) -> Expand:
    """What turns an event into deliveries by some rules; it looks at those alone that may know its tenant."""
    own: dict[str, list[tuple[str, Rule]]] = {}
    wide = [(owner, rule) for owner, rule in rules if rule.every_tenant]
    for owner, rule in rules:
        if not rule.every_tenant:
            own.setdefault(owner, []).append((owner, rule))

    def expand(event: Event, throttled: Throttled) -> list[Delivery]:
        found = []
        for owner, rule in (*own.get(event.tenant, ()), *wide):
            if not applies(rule, owner, event):
                continue
            held_back = throttled(owner, rule, event)
            if held_back is not None:
                found.append(_delivery(owner, rule, event, held_back, tools))
        return found

    return expand


def _delivery(owner: str, rule: Rule, event: Event, held_back: int, tools: NotifyTools) -> Delivery:
    now = tools.now()
    quiet = quiet_until(rule, event.severity, now)
    return Delivery(
        delivery_id(now, tools.token()), owner, rule.channel, rule.id, event, Status.PENDING, now, quiet or now,
        held_back=held_back, note="quiet hours" if quiet else "",
    )  # fmt: skip


def attempt(delivery: Delivery, tools: NotifyTools) -> Delivery | None:
    """Try to deliver; what came of it, which stands in the store. None where another process has it.

    The message may have arrived although this process dies before it can say so: then it is sent once more, under the
    same id.
    """
    mine = tools.deliveries.claim(delivery, tools.now())
    if mine is None:
        return None
    done = _tried(mine, tools)
    return done if tools.deliveries.settle(done) else None


def _tried(mine: Delivery, tools: NotifyTools) -> Delivery:
    message = Message(mine.id, mine.event, mine.held_back)
    shown = mine
    try:
        channel = tools.channels.get(mine.tenant, mine.channel)
        if channel is None:
            raise ChannelNotFound(f"the channel {mine.channel} is gone")
        if not channel.enabled:
            raise InvalidChannel(f"the channel {mine.channel} is switched off")
        provider = tools.providers.of(channel.kind)
        shown = _shown(mine, provider.render(channel, message))
        answer = provider.send(channel, message)
    except StellaError as error:
        return _failed(shown, error, tools)
    return replace(
        shown,
        status=Status.DELIVERED,
        finished_at=tools.now(),
        answer=answer,
        error="",
        error_code="",
        note="",
    )


def _failed(mine: Delivery, error: StellaError, tools: NotifyTools) -> Delivery:
    now = tools.now()
    told = replace(mine, error=error.what, error_code=error.code, answer="", note="")
    again = isinstance(error, DependencyFailed | MissingPrerequisite) and mine.attempts < tools.attempts
    if not again:
        return replace(told, status=Status.FAILED, finished_at=now)
    asked = getattr(error, "retry_after", None)
    return replace(told, next_at=next_attempt(mine.attempts, now, tools.chance(), asked))


def _shown(delivery: Delivery, rendered: Rendered) -> Delivery:
    return replace(delivery, kind=rendered.kind, target=rendered.target, title=rendered.title)


@dataclass(frozen=True, slots=True)
class Trial:
    """A test of a channel: what was shown, and what came of sending it; None where nothing was sent."""

    rendered: Rendered
    delivery: Delivery | None = None


def try_channel(
    tenant: str, channel_id: str, tools: NotifyTools, *, trace_id: str, text: str = "", send: bool = True
) -> Trial:
    """Show what a channel would be sent, and send it: once, and whether it arrived stands in the history.

    Args:
        text: in place of our own words.

    Raises:
        ChannelNotFound: see there.
    """
    channel = tools.channels.get(tenant, channel_id)
    if channel is None:
        raise ChannelNotFound(f"tenant {tenant} has no channel {channel_id[:80]!r}")
    now, provider = tools.now(), tools.providers.of(channel.kind)
    event = Event(
        event_id(now, tools.token()), TEST, now, tenant, Severity.INFO, f"channel/{channel_id}",
        f"a test of the channel {channel_id}", text or f"This message tries the channel {channel_id}.",
        facts={"channel": channel_id, "traceId": trace_id},
    )  # fmt: skip
    message = Message(delivery_id(now, tools.token()), shortened(event), test=True)
    rendered = provider.render(channel, message)
    if not send:
        return Trial(rendered)
    tried = _shown(
        Delivery(
            message.delivery, tenant, channel.id, "", event, Status.FAILED, now, now, 1, trace_id=trace_id
        ),
        rendered,
    )
    try:
        tried = replace(tried, status=Status.DELIVERED, answer=provider.send(channel, message))
    except StellaError as error:
        tried = replace(tried, error=error.what, error_code=error.code)
    tried = replace(tried, finished_at=tools.now())
    tools.deliveries.add(tried)
    return Trial(rendered, tried)


def send_again(tenant: str, delivery: str, tools: NotifyTools) -> Delivery:
    """Have a failed delivery tried once more, as often as a new one.

    Raises:
        DeliveryNotFound, DeliveryNotFailed: see there.
    """
    found = tools.deliveries.get(tenant, delivery)
    if found is None:
        raise DeliveryNotFound(f"tenant {tenant} has no delivery {delivery[:80]!r}")
    if found.status is not Status.FAILED or not found.rule:
        kind = "a test" if not found.rule else found.status.value
        raise DeliveryNotFailed(f"delivery {delivery} is {kind}")
    again = replace(found, status=Status.PENDING, attempts=0, next_at=tools.now(), finished_at=None)
    if not tools.deliveries.restart(again):
        raise DeliveryNotFailed(f"delivery {delivery} was changed meanwhile")
    return again
