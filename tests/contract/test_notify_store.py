"""Events, deliveries, throttles and turns, on each database."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine

from stellaops.adapters.sql import migrations
from stellaops.adapters.sql.engine import writing
from stellaops.adapters.sql.metering import SqlMetering
from stellaops.adapters.sql.notify_channels import SqlChannels, SqlRules
from stellaops.adapters.sql.notify_conditions import TURN, SqlConditions, SqlNotifyTurn
from stellaops.adapters.sql.notify_deliveries import DELIVERIES, SqlDeliveries
from stellaops.adapters.sql.notify_outbox import SqlOutbox, prune_throttles
from stellaops.adapters.sql.notify_schema import notify_outbox_t, notify_rule_t
from stellaops.adapters.sql.service import SqlRuns
from stellaops.adapters.sql.target_checks import SqlTargetChecks
from stellaops.core.errors import NotPermitted
from stellaops.exports.distribution.verify_targets import FAILED, TargetCheck
from stellaops.exports.errors import RunChanged
from stellaops.exports.events import Event as RunEvent
from stellaops.exports.events import EventType as RunEventType
from stellaops.exports.run import Run, RunStatus
from stellaops.notify.channel import Channel
from stellaops.notify.conditions import LATE, OVER, Condition
from stellaops.notify.deliver import NotifyTools, attempt, expand_events, send_again, try_channel
from stellaops.notify.delivery import LEASE, Delivery, Status
from stellaops.notify.errors import (
    ChannelExists,
    ChannelNotFound,
    DeliveryFailed,
    DeliveryNotFailed,
    DeliveryNotFound,
    RuleExists,
    SecretMissing,
)
from stellaops.notify.event import Event, Severity
from stellaops.notify.message import Message, Rendered
from stellaops.notify.ports import DeliveryFilter
from stellaops.notify.rule import Rule, read
from tests.contract.stores import NOON, Place

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@dataclass
class Sent:
    """A provider that keeps what it is given; `faults` in turn, then it takes everything."""

    kind: str = "memory"
    messages: list[Message] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    def problems(self, settings: Any) -> Sequence[str]:
        del settings
        return ()

    def render(self, channel: Channel, message: Message) -> Rendered:
        return Rendered(self.kind, f"memory of {channel.id}", message.title, "", "text")

    def send(self, channel: Channel, message: Message) -> str:
        del channel
        if self.faults:
            raise self.faults.pop(0)
        self.messages.append(message)
        return "taken"

    def of(self, kind: str) -> Sent:
        assert kind == self.kind
        return self

    def kinds(self) -> Sequence[str]:
        return (self.kind,)


@dataclass
class World:
    """One service store, a clock that is set, and a channel with a rule of the tenant acme."""

    engine: Engine
    now: datetime = NOON
    sent: Sent = field(default_factory=Sent)
    _number: Any = field(default_factory=count)

    @property
    def tools(self) -> NotifyTools:
        engine = self.engine
        return NotifyTools(
            SqlChannels(engine), SqlRules(engine), SqlOutbox(engine), SqlDeliveries(engine), self.sent,
            attempts=3, keep=timedelta(days=30), now=lambda: self.now, chance=lambda: 0.5,
            token=lambda: f"{next(self._number):012x}",
        )  # fmt: skip

    def rule(self, tenant: str = "acme", **more: Any) -> Rule:
        made = read({"id": "all", "channel": "ops", "events": ["*"], **more})
        self.tools.rules.put(tenant, made, new=self.tools.rules.get(tenant, made.id) is None)
        return made

    def event(self, topic: str = "profile/p", **more: Any) -> Event:
        told: dict[str, Any] = {
            "id": f"evt-{next(self._number):016x}-0", "type": "run.failed", "at": self.now, "tenant": "acme",
            "severity": Severity.ERROR, "topic": topic, "title": "failed", "text": "it did", **more,
        }  # fmt: skip
        return Event(**told)

    def happen(self, *events: Event) -> Sequence[Delivery]:
        """Events, asked rules about; the deliveries of acme, the oldest first."""
        self.tools.outbox.add(events)
        expand_events(self.tools)
        return self.deliveries()

    def deliveries(self) -> Sequence[Delivery]:
        return tuple(reversed(self.tools.deliveries.list("acme", limit=500)))

    def counted(self) -> dict[str, float]:
        found = SqlMetering(self.engine).counted()
        return {each.labels["outcome"]: each.value for each in found if each.name == DELIVERIES}


@pytest.fixture
def world(place: Place) -> World:
    made = World(place.engine(migrations.SERVICE))
    made.tools.channels.put(Channel("acme", "ops", "memory", {}), new=True)
    return made


def test_channels_and_rules_are_kept_by_tenant(world: World) -> None:
    channels, rules = world.tools.channels, world.tools.rules
    assert channels.get("acme", "ops") == Channel("acme", "ops", "memory", {})
    assert channels.get("other", "ops") is None
    with pytest.raises(ChannelExists):
        channels.put(Channel("acme", "ops", "memory", {}), new=True)
    changed = Channel("acme", "ops", "memory", {"to": ["a"]}, "Ops", enabled=False)
    channels.put(changed, new=False)
    channels.put(Channel("other", "ops", "memory", {}), new=True)
    assert channels.list("acme") == [changed]
    first = world.rule()
    with pytest.raises(RuleExists):
        rules.put("acme", first, new=True)
    off = world.rule(id="off", enabled=False)
    assert list(rules.list("acme")) == [first, off]
    assert list(rules.enabled()) == [("acme", first)]
    assert (rules.delete("acme", "off"), rules.delete("acme", "off")) == (True, False)
    assert (channels.delete("other", "ops"), channels.delete("other", "ops")) == (True, False)


def test_where_nobody_has_a_rule_nothing_is_written(world: World) -> None:
    world.tools.outbox.add([world.event()])
    assert world.tools.outbox.waiting() == (0, None)
    world.rule(enabled=False)
    world.tools.outbox.add([world.event()])
    assert world.tools.outbox.waiting() == (0, None)
    world.rule(enabled=True)
    world.tools.outbox.add([world.event()])
    assert world.tools.outbox.waiting() == (1, NOON)


def test_an_event_makes_each_delivery_once_whoever_expands_it(world: World) -> None:
    world.rule()
    world.rule(id="also", events=["run.*"])
    world.tools.outbox.add([world.event(f"profile/{number}") for number in range(30)])
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: expand_events(world.tools), range(12)))
    found = world.deliveries()
    assert len(found) == 60
    assert len({(each.event.topic, each.rule) for each in found}) == 60
    assert world.tools.outbox.waiting() == (0, None)


def test_what_a_later_release_has_written_silences_nothing_else(world: World) -> None:
    world.rule()
    with writing(world.engine) as connection:
        odd = {"tenant": "acme", "id": "odd", "enabled": True, "record": b'{"id":"odd","later":1}'}
        connection.execute(notify_rule_t.insert().values(odd))
        connection.execute(notify_outbox_t.insert().values(id="evt-0", at=0, record=b'{"later":1}'))
    assert [each.rule for each in world.happen(world.event())] == ["all"]
    assert world.tools.outbox.waiting() == (0, None)


def test_a_throttle_lets_one_through_in_a_time_and_counts_the_others(world: World) -> None:
    world.rule(throttle="1h")
    world.happen(world.event(), world.event(), world.event("profile/q"))
    assert [each.event.topic for each in world.deliveries()] == ["profile/p", "profile/q"]
    world.now += HOUR - SECOND
    world.happen(world.event())
    assert len(world.deliveries()) == 2
    world.now += SECOND
    assert world.happen(world.event())[-1].held_back == 2
    world.now += HOUR
    assert world.happen(world.event())[-1].held_back == 0
    world.now += timedelta(days=40)
    prune_throttles(world.engine, world.now)
    assert world.happen(world.event())[-1].held_back == 0


def test_quiet_hours_hold_back_until_they_end(world: World) -> None:
    world.rule(quietHours=[{"from": "11:00", "to": "13:00"}])
    (held,) = world.happen(world.event())
    assert (held.next_at, held.note) == (NOON + HOUR, "quiet hours")
    assert world.tools.deliveries.due(NOON + HOUR - SECOND, 10) == []
    assert world.happen(world.event(severity=Severity.CRITICAL))[-1].next_at == NOON
    world.now = NOON + HOUR
    assert len(world.tools.deliveries.due(world.now, 10)) == 2


def test_one_of_all_that_try_a_delivery_has_it(world: World) -> None:
    world.rule()
    (waiting,) = world.happen(world.event())
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: world.tools.deliveries.claim(waiting, NOON), range(12)))
    assert len([each for each in found if each is not None]) == 1


def test_what_a_dead_process_had_in_hand_is_sent_again_under_the_same_id(world: World) -> None:
    world.rule()
    (waiting,) = world.happen(world.event())
    mine = world.tools.deliveries.claim(waiting, NOON)
    assert mine is not None
    assert mine.attempts == 1
    assert world.tools.deliveries.due(NOON + LEASE - SECOND, 10) == []
    world.now = NOON + LEASE
    (again,) = world.tools.deliveries.due(world.now, 10)
    done = attempt(again, world.tools)
    assert done is not None
    assert (done.id, done.attempts, done.status) == (waiting.id, 2, Status.DELIVERED)
    assert not world.tools.deliveries.settle(replace(mine, status=Status.FAILED)), "it is not dead but late"
    assert [each.delivery for each in world.sent.messages] == [waiting.id]


def test_what_fails_is_tried_less_and_less_often_and_then_given_up(world: World) -> None:
    world.rule()
    (waiting,) = world.happen(world.event())
    world.sent.faults = [
        DeliveryFailed("down"),
        SecretMissing("no file"),
        DeliveryFailed("down", retry_after=5.0),
    ]
    waits = []
    for _ in range(3):
        (due,) = world.tools.deliveries.due(world.now, 10)
        done = attempt(due, world.tools)
        assert done is not None
        waits.append(done.next_at - world.now)
        world.now = done.next_at
    assert waits[:2] == [timedelta(seconds=10), timedelta(seconds=30)]
    (failed,) = world.deliveries()
    assert (failed.status, failed.attempts, failed.error_code) == (Status.FAILED, 3, "ERR_NOTIFY_DELIVERY")
    assert failed.finished_at is not None
    assert failed.target == "memory of ops"
    assert world.tools.deliveries.due(world.now + timedelta(days=9), 10) == []
    assert world.counted() == {"retried": 2, "failed": 1}
    again = send_again("acme", waiting.id, world.tools)
    assert (again.status, again.attempts) == (Status.PENDING, 0)
    with pytest.raises(DeliveryNotFailed):
        send_again("acme", waiting.id, world.tools)
    with pytest.raises(DeliveryNotFound):
        send_again("other", waiting.id, world.tools)
    (due,) = world.tools.deliveries.due(world.now, 10)
    done = attempt(due, world.tools)
    assert done is not None
    assert (done.status, done.answer, done.error) == (Status.DELIVERED, "taken", "")
    assert world.counted()["delivered"] == 1


def test_what_can_never_arrive_is_given_up_at_once(world: World) -> None:
    world.rule()

    def refused() -> None:
        world.sent.faults = [NotPermitted("not there")]

    def switched_off() -> None:
        world.tools.channels.put(Channel("acme", "ops", "memory", {}, enabled=False), new=False)

    def gone() -> None:
        world.tools.channels.delete("acme", "ops")

    for fault in (refused, switched_off, gone):
        world.now += SECOND
        waiting = world.happen(world.event())[-1]
        fault()
        done = attempt(waiting, world.tools)
        assert done is not None
        assert (done.status, done.attempts) == (Status.FAILED, 1), fault
    assert world.sent.messages == []


def test_a_test_is_sent_once_and_stands_in_the_history(world: World) -> None:
    shown = try_channel("acme", "ops", world.tools, trace_id="t" * 32, send=False)
    assert (shown.delivery, world.deliveries()) == (None, ())
    good = try_channel("acme", "ops", world.tools, trace_id="t" * 32, text="can you read this?")
    assert good.delivery is not None
    assert world.sent.messages[0].event.text == "can you read this?"
    assert world.sent.messages[0].test
    world.sent.faults = [DeliveryFailed("down")]
    bad = try_channel("acme", "ops", world.tools, trace_id="t" * 32)
    assert bad.delivery is not None
    assert [each.status for each in world.deliveries()] == [Status.DELIVERED, Status.FAILED]
    assert world.deliveries()[1] == bad.delivery
    assert world.tools.deliveries.due(world.now + timedelta(days=9), 10) == []
    with pytest.raises(DeliveryNotFailed, match="a test"):
        send_again("acme", bad.delivery.id, world.tools)
    with pytest.raises(ChannelNotFound):
        try_channel("other", "ops", world.tools, trace_id="t" * 32)


def test_the_history_is_read_by_page_and_by_what_is_looked_for(world: World) -> None:
    world.rule()
    world.rule(id="bases", events=["delta.base_missing"], channel="leads")
    world.happen(
        *(world.event(f"profile/{number}") for number in range(5)),
        world.event("profile/x", type="delta.base_missing", also=("run.failed",)),
    )
    kept = world.tools.deliveries
    every = kept.list("acme")
    assert [each.id for each in every] == sorted((each.id for each in every), reverse=True)
    paged: list[Delivery] = []
    while page := kept.list("acme", before=paged[-1].id if paged else None, limit=2):
        paged += page
    assert paged == list(every)
    assert len(every) == 7
    assert len(kept.list("acme", DeliveryFilter(rule="bases"))) == 1
    assert len(kept.list("acme", DeliveryFilter(channel="ops"))) == 6
    assert len(kept.list("acme", DeliveryFilter(event="run.failed"))) == 7
    assert len(kept.list("acme", DeliveryFilter(event="delta.base_missing"))) == 2
    assert kept.list("acme", DeliveryFilter(event="%")) == []
    assert kept.list("acme", DeliveryFilter(status=Status.FAILED)) == []
    assert kept.list("other") == []
    assert kept.counts() == {Status.PENDING: 7, Status.DELIVERED: 0, Status.FAILED: 0}
    for each in kept.due(world.now, 3):
        attempt(each, world.tools)
    assert kept.prune(world.now) == 0
    assert kept.prune(world.now + SECOND) == 3
    assert len(kept.list("acme")) == 4


def condition(world: World, name: str, level: int) -> Condition:
    return Condition(name, level, world.event(name, type="key.expiring"))


def test_a_state_is_told_when_it_begins_when_it_gets_worse_and_when_it_comes_again(world: World) -> None:
    seen = SqlConditions(world.engine)
    assert not seen.wanted()
    world.rule()
    assert seen.wanted()
    assert seen.watching_since(NOON) == NOON
    assert seen.watching_since(NOON + HOUR) == NOON
    for holding, told in (
        ([("a", LATE), ("b", LATE)], 2),
        ([("a", LATE), ("b", LATE)], 0),
        ([("a", OVER), ("b", LATE)], 1),
        ([("a", OVER)], 0),
        ([("a", LATE), ("b", LATE)], 1),
        ([], 0),
        ([("a", LATE)], 1),
    ):
        assert seen.found([condition(world, name, level) for name, level in holding], world.now) == told, (
            holding
        )
    assert world.tools.outbox.waiting()[0] == 5
    assert seen.watching_since(NOON + HOUR) == NOON


def test_one_process_has_the_turn_and_another_when_it_dies_or_gives_it_up(world: World) -> None:
    one, other = SqlNotifyTurn(world.engine, "one"), SqlNotifyTurn(world.engine, "other")
    assert [one.take(NOON), other.take(NOON), one.take(NOON + TURN * 0.9)] == [True, False, True]
    assert not other.take(NOON + TURN)
    assert other.take(NOON + TURN * 2)
    assert not one.take(NOON + TURN * 2)
    one.give_up()
    assert not one.take(NOON + TURN * 2), "it was not its own"
    other.give_up()
    assert one.take(NOON + TURN * 2)


def test_of_all_that_want_the_turn_at_once_one_gets_it(world: World) -> None:
    turns = [SqlNotifyTurn(world.engine, f"w{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda each: each.take(NOON), turns)).count(True) == 1


# ---- what the service itself tells


def run(code: str | None = None, **more: Any) -> Run:
    status = RunStatus.FAILED if code else RunStatus.HELD
    told = {"error_code": code, "error": f"because of {code}", **more}
    return Run("run-1", "acme", "mirror:delta", "r1", "mirror:delta", {}, status, NOON, **told)


FAILURES = (
    ("base_missing", ("delta.base_missing", "run.failed"), "error", "--profile mirror:full"),
    ("verify", ("verify.failed", "run.failed"), "critical", "Nothing was published"),
    ("signing", ("run.failed",), "error", "authority key test"),
    ("internal", ("run.failed",), "error", "run show"),
)


def test_a_run_that_fails_is_told_in_the_same_transaction(world: World) -> None:
    world.rule()
    runs = SqlRuns(world.engine)
    for code, types, severity, hint in FAILURES:
        run_id = f"run-{code}"
        stored = runs.add(replace(run(code), id=run_id, status=RunStatus.RUNNING, error_code=None), [])
        failed = replace(stored, status=RunStatus.FAILED, error_code=code)
        runs.change(failed, [RunEvent(RunEventType.FAILED, NOON)])
        with pytest.raises(RunChanged):
            runs.change(failed, [RunEvent(RunEventType.FAILED, NOON)])
        world.now += SECOND
        expand_events(world.tools)
        told = world.deliveries()[-1].event
        assert (told.types, told.severity.value) == (types, severity)
        assert hint in told.hint
        assert told.facts == {
            "runId": run_id, "profile": "mirror:delta", "kind": "mirror:delta", "errorCode": code,
        }  # fmt: skip
    assert len(world.deliveries()) == len(FAILURES)


def test_a_run_that_waits_for_an_approval_and_a_target_that_has_something_wrong_are_told(
    world: World,
) -> None:
    world.rule()
    SqlRuns(world.engine).add(run(held=("it shrank by half",)), [RunEvent(RunEventType.HELD, NOON)])
    check = TargetCheck(
        "acme",
        "trivy:db",
        "trivy:db",
        "edge",
        "oci",
        "run-1",
        "ref",
        NOON + SECOND,
        FAILED,
        (("signer", "unknown key"),),
    )
    checks = SqlTargetChecks(world.engine)
    checks.put(check)
    checks.put(replace(check, status="ok", failed=()))
    expand_events(world.tools)
    held, wrong = world.deliveries()
    assert (held.event.type, held.event.text) == ("run.held", "it shrank by half")
    assert (wrong.event.type, wrong.event.topic) == ("verify.failed", "target/edge/trivy:db")
    assert "signer: unknown key" in wrong.event.text
