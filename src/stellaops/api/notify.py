"""Routes of notifications: channels and their tests, rules, the history of deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from stellaops.api.forms import Asking, Form, Text
from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page, PageQuery, cursor_of, place_of
from stellaops.authority.actors import OperatorOnly
from stellaops.authority.audit import Change as Audited
from stellaops.center.interface import DeliveriesWanted
from stellaops.center.local_notify import LocalNotify
from stellaops.notify.errors import (
    ChannelExists,
    ChannelNotFound,
    ChannelUsed,
    DeliveryNotFailed,
    DeliveryNotFound,
    InvalidChannel,
    InvalidRule,
    NotifyRateExceeded,
    RuleExists,
    RuleNotFound,
)
from stellaops.notify.event import Severity
from stellaops.notify.manage import TooMany
from stellaops.notify.rate_limits import DELIVERY_HISTORY, TEST_SEND
from stellaops.notify.rule import Day

READ, MANAGE = "notify:read", "notify:manage"
_Body = Annotated[str, msgspec.Meta(max_length=2000)]
_Values = dict[str, Any]


class ChannelForm(Form, frozen=True):
    """Where messages go. `settings` are its kind's own; what opens something is the name of a secret there."""

    id: str
    kind: str
    name: str | None
    enabled: bool
    settings: _Values


class ChannelChange(Asking, frozen=True):
    """A channel, whole, but for its id."""

    kind: Text
    settings: _Values
    name: Text | None = None
    enabled: bool = True


class ChannelAsked(Asking, frozen=True):
    """A channel; docs/operate/notifications.md describes the settings of each kind."""

    id: Text
    kind: Text
    settings: _Values
    name: Text | None = None
    enabled: bool = True


class TestAsked(Asking, frozen=True):
    """What to say in place of our own words; `preview` shows what would be sent, and sends nothing."""

    text: _Body = ""
    preview: bool = False


class PreviewForm(Form, frozen=True):
    """A message as it goes out; what opens something is `***`."""

    channel_kind: str
    target: str
    title: str
    body: str
    format: Literal["text", "blocks", "adaptiveCard", "json"]
    headers: dict[str, str]
    trace_id: str


class QuietForm(Asking, frozen=True):
    """A time of the day in which messages wait; equal times stand for a whole day, no days for every day."""

    from_: Text = msgspec.field(name="from")
    to: Text
    zone: Text = "UTC"
    days: list[Day] = msgspec.field(default_factory=list)


class RuleForm(Form, frozen=True):
    """Who is told of what."""

    id: str
    name: str | None
    enabled: bool
    channel: str
    events: list[str]
    severity_at_least: Severity
    topics: list[str]
    every_tenant: bool
    throttle: str | None
    quiet_hours: list[QuietForm]
    quiet_below: Severity


class RuleChange(Asking, frozen=True):
    """A rule, whole, but for its id; what is left out gets its usual value."""

    channel: Text
    events: list[Text]
    severity_at_least: Severity = Severity.INFO
    topics: list[Text] = msgspec.field(default_factory=list)
    every_tenant: bool = False
    throttle: Text | None = None
    quiet_hours: list[QuietForm] = msgspec.field(default_factory=list)
    quiet_below: Severity = Severity.CRITICAL
    name: Text | None = None
    enabled: bool = True


class RuleAsked(RuleChange, frozen=True, kw_only=True):
    """A rule."""

    id: Text


class EventForm(Form, frozen=True):
    """What a delivery tells of."""

    event_id: str
    type: str
    tenant: str | None
    severity: Severity
    topic: str
    at: datetime
    facts: dict[str, str]


class DeliveryForm(Form, frozen=True):
    """One message for one channel; `rule` is null of a test."""

    delivery_id: str
    status: Literal["pending", "delivered", "failed"]
    channel: str
    channel_kind: str | None
    target: str | None
    rule: str | None
    event: EventForm
    title: str
    attempts: int
    held_back: int
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    answer: str | None
    error_code: str | None
    error: str | None
    note: str | None
    trace_id: str | None


class TestForm(Form, frozen=True):
    """What a channel was sent, or would be, and what came of it."""

    preview: PreviewForm
    delivery: DeliveryForm | None


class EventKind(Form, frozen=True):
    """A kind of events that rules can name."""

    type: str
    meaning: str


class DeliveriesQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which deliveries, newest first."""

    status: Literal["pending", "delivered", "failed"] | None = None
    channel: Text | None = None
    rule: Text | None = None
    event: Text | None = None


def channels(call: Call) -> Response:
    """The tenant's channels."""
    return answer(Page(_asked(call).channels()))


def channel(call: Call) -> Response:
    """One of them."""
    return answer(_asked(call).channel(call.path["id"]))


def create_channel(call: Call) -> Response:
    """Make a channel."""
    made = _asked(call).create_channel(msgspec.to_builtins(call.body))
    return answer(made, 201, {"location": f"/api/notify/channels/{quote(made['id'])}"})


def change_channel(call: Call) -> Response:
    """Change a channel."""
    return answer(_asked(call).change_channel(call.path["id"], msgspec.to_builtins(call.body)))


def delete_channel(call: Call) -> Response:
    """Forget a channel."""
    return answer(_asked(call).delete_channel(call.path["id"]))


def test_channel(call: Call) -> Response:
    """Show what a channel would be sent, or send it."""
    _take(call, TEST_SEND)
    asked: TestAsked = call.body
    found = _asked(call).test_channel(
        call.path["id"], text=asked.text, preview=asked.preview, trace_id=call.trace_id
    )
    return answer(found)


def rules(call: Call) -> Response:
    """The tenant's rules."""
    return answer(Page(_asked(call).rules()))


def rule(call: Call) -> Response:
    """One of them."""
    return answer(_asked(call).rule(call.path["id"]))


def create_rule(call: Call) -> Response:
    """Make a rule."""
    made = _asked(call).create_rule(_rule(call.body))
    return answer(made, 201, {"location": f"/api/notify/rules/{quote(made['id'])}"})


def change_rule(call: Call) -> Response:
    """Change a rule."""
    return answer(_asked(call).change_rule(call.path["id"], _rule(call.body)))


def delete_rule(call: Call) -> Response:
    """Forget a rule."""
    return answer(_asked(call).delete_rule(call.path["id"]))


def deliveries(call: Call) -> Response:
    """The history of deliveries."""
    _take(call, DELIVERY_HISTORY)
    asked: DeliveriesQuery = call.query
    before = place_of(asked.cursor, form=tuple[str])[0] if asked.cursor else None
    wanted = DeliveriesWanted(asked.status, asked.channel, asked.rule, asked.event)
    found = _asked(call).page(wanted, before=before, limit=asked.limit + 1)
    shown = found[: asked.limit]
    more = len(found) > asked.limit
    return answer(Page([each.to_wire() for each in shown], cursor_of(shown[-1].id) if more else None))


def delivery(call: Call) -> Response:
    """One delivery."""
    _take(call, DELIVERY_HISTORY)
    return answer(_asked(call).delivery(call.path["id"]))


def retry(call: Call) -> Response:
    """Have a failed delivery tried again."""
    return answer(_asked(call).retry(call.path["id"]))


def events(call: Call) -> Response:
    """What rules can name."""
    return answer(Page(_asked(call).events()))


def _asked(call: Call) -> LocalNotify:
    def tell(change: Audited) -> None:
        call.change.take(change)
        call.change.none = False

    call.change.none = True  # until somebody says otherwise
    return LocalNotify(call.local, call.tenant, operator=call.principal.operator, tell=tell)


def _rule(asked: RuleChange) -> _Values:
    """A rule's document: what is null was not said."""
    told: _Values = msgspec.to_builtins(asked)
    return {name: value for name, value in told.items() if value is not None}


def _take(call: Call, name: str) -> None:
    """Count a request by one of the named policies, for the client and its tenant.

    Raises:
        NotifyRateExceeded: see there.
    """
    call.local.notify_limits[name].take(f"{call.principal.client} {call.tenant}")


_NOTIFY = "/api/notify"
_CHANNELS, _RULES, _DELIVERIES = (f"{_NOTIFY}/{name}" for name in ("channels", "rules", "deliveries"))
OPERATIONS = (
    Operation(
        "listChannels", "GET", _CHANNELS, "Where messages go", channels, READ, tag="notify",
        answers={200: Answer("By id", Page[ChannelForm])},
    ),
    Operation(
        "createChannel", "POST", _CHANNELS, "Make a channel", create_channel, MANAGE, body=ChannelAsked, tag="notify",
        answers={201: Answer("The channel", ChannelForm)}, errors=(InvalidChannel, ChannelExists, TooMany),
        mutating=True, action="notify.channel.created",
    ),
    Operation(
        "getChannel", "GET", f"{_CHANNELS}/{{id}}", "One channel", channel, READ, tag="notify",
        answers={200: Answer("The channel", ChannelForm)}, errors=(ChannelNotFound,),
    ),
    Operation(
        "changeChannel", "PUT", f"{_CHANNELS}/{{id}}", "Change a channel", change_channel, MANAGE, body=ChannelChange,
        tag="notify", answers={200: Answer("The channel", ChannelForm)}, errors=(InvalidChannel, ChannelNotFound),
        mutating=True, action="notify.channel.changed",
    ),
    Operation(
        "deleteChannel", "DELETE", f"{_CHANNELS}/{{id}}", "Forget a channel", delete_channel, MANAGE, tag="notify",
        answers={200: Answer("What it was", ChannelForm)}, errors=(ChannelNotFound, ChannelUsed),
        mutating=True, action="notify.channel.deleted",
    ),
    Operation(
        "testChannel", "POST", f"{_CHANNELS}/{{id}}/test", "Show what a channel would be sent, or send it",
        test_channel, MANAGE, body=TestAsked, required=False, tag="notify",
        answers={200: Answer("What it was sent, and what came of it", TestForm)},
        errors=(ChannelNotFound, InvalidChannel, NotifyRateExceeded), mutating=True, action="notify.channel.tested",
    ),
    Operation(
        "listRules", "GET", _RULES, "Who is told of what", rules, READ, tag="notify",
        answers={200: Answer("By id", Page[RuleForm])},
    ),
    Operation(
        "createRule", "POST", _RULES, "Make a rule", create_rule, MANAGE, body=RuleAsked, tag="notify",
        answers={201: Answer("The rule", RuleForm)},
        errors=(InvalidRule, RuleExists, ChannelNotFound, OperatorOnly, TooMany), mutating=True,
        action="notify.rule.created",
    ),
    Operation(
        "getRule", "GET", f"{_RULES}/{{id}}", "One rule", rule, READ, tag="notify",
        answers={200: Answer("The rule", RuleForm)}, errors=(RuleNotFound,),
    ),
    Operation(
        "changeRule", "PUT", f"{_RULES}/{{id}}", "Change a rule", change_rule, MANAGE, body=RuleChange, tag="notify",
        answers={200: Answer("The rule", RuleForm)}, errors=(InvalidRule, RuleNotFound, ChannelNotFound, OperatorOnly),
        mutating=True, action="notify.rule.changed",
    ),
    Operation(
        "deleteRule", "DELETE", f"{_RULES}/{{id}}", "Forget a rule", delete_rule, MANAGE, tag="notify",
        answers={200: Answer("What it was", RuleForm)}, errors=(RuleNotFound,), mutating=True,
        action="notify.rule.deleted",
    ),
    Operation(
        "listDeliveries", "GET", _DELIVERIES, "What was told, and what came of it", deliveries, READ,
        query=DeliveriesQuery, tag="notify", answers={200: Answer("A page of them", Page[DeliveryForm])},
        errors=(NotifyRateExceeded,),
    ),
    Operation(
        "getDelivery", "GET", f"{_DELIVERIES}/{{id}}", "One delivery", delivery, READ, tag="notify",
        answers={200: Answer("The delivery", DeliveryForm)}, errors=(DeliveryNotFound, NotifyRateExceeded),
    ),
    Operation(
        "retryDelivery", "POST", f"{_DELIVERIES}/{{id}}/retry", "Have a failed delivery tried again", retry, MANAGE,
        tag="notify", answers={200: Answer("The delivery, pending", DeliveryForm)},
        errors=(DeliveryNotFound, DeliveryNotFailed), mutating=True, action="notify.delivery.retried",
    ),
    Operation(
        "listEventKinds", "GET", f"{_NOTIFY}/events", "What rules can name", events, READ, tag="notify",
        answers={200: Answer("Every kind of events", Page[EventKind])},
    ),
)  # fmt: skip
