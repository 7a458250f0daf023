"""Rules of notifications: which events they tell, how often, and when not; what is wrong with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.core.allowances import OwnLeases
from stellaops.notify.delivery import PAUSES, next_attempt
from stellaops.notify.errors import InvalidRule, NotifyRateExceeded
from stellaops.notify.event import Event, EventType, Severity, shortened
from stellaops.notify.rate_limits import BadRateLimit, RateLimit, policy
from stellaops.notify.rule import DAYS, QuietHours, Rule, applies, quiet_until, read

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday


def event(kind: str = "run.failed", **more: Any) -> Event:
    told: dict[str, Any] = {
        "id": "evt-1", "type": kind, "at": NOON, "tenant": "acme", "severity": Severity.ERROR,
        "topic": "profile/trivy:db", "title": "it failed", "text": "it did", **more,
    }  # fmt: skip
    return Event(**told)


def rule(**more: Any) -> Rule:
    return read({"id": "r", "channel": "ops", "events": ["run.*"], **more})


def test_a_rule_tells_what_it_names_of_its_own_tenant() -> None:
    assert applies(rule(), "acme", event())
    assert not applies(rule(), "other", event())
    assert not applies(rule(), "acme", event("key.expiring"))
    assert not applies(rule(enabled=False), "acme", event())
    assert applies(rule(everyTenant=True), "other", event())
    assert applies(rule(everyTenant=True, events=["*"]), "other", event("retention.stale", tenant=""))
    assert not applies(rule(events=["*"]), "acme", event("retention.stale", tenant=""))


def test_an_event_is_found_under_each_of_its_types() -> None:
    missing = event("delta.base_missing", also=("run.failed",))
    assert applies(rule(events=["run.failed"]), "acme", missing)
    assert applies(rule(events=["delta.base_missing"]), "acme", missing)
    assert not applies(rule(events=["run.held"]), "acme", missing)


def test_a_rule_is_narrowed_by_severity_and_topic() -> None:
    assert applies(rule(severityAtLeast="error"), "acme", event())
    assert not applies(rule(severityAtLeast="critical"), "acme", event())
    assert applies(rule(topics=["profile/trivy:*"]), "acme", event())
    assert not applies(rule(topics=["profile/mirror:*", "target/*"]), "acme", event())


def test_everything_that_is_wrong_with_a_rule_is_told_at_once() -> None:
    with pytest.raises(InvalidRule) as found:
        rule(
            id="No", events=["run.exploded", "run.*"], throttle="often",
            quietHours=[{"from": "25:00", "to": "7", "zone": "Mars/Olympus"}],
        )  # fmt: skip
    assert len(found.value.details) == 6
    mistakes: tuple[dict[str, Any], ...] = (
        {"events": []},
        {"throttle": "31d"},
        {"colour": "red"},
        {"events": "run.*"},
        {"topics": 3},
    )
    for mistake in mistakes:
        with pytest.raises(InvalidRule):
            rule(**mistake)
    with pytest.raises(InvalidRule):
        read([1])
    assert rule(throttle="30s").pause == timedelta(seconds=30)


def test_a_rule_is_read_back_as_it_is_told() -> None:
    told = rule(quietHours=[{"from": "22:00", "to": "07:00", "days": ["fri"]}], throttle="1h", name="nights")
    wire = {name: value for name, value in told.to_wire().items() if value is not None}
    assert read(wire) == told


@pytest.mark.parametrize(
    ("hour", "until"),
    [
        ("2026-03-02T21:59:59+01:00", None),
        ("2026-03-02T22:00:00+01:00", "2026-03-03T07:00:00+01:00"),
        ("2026-03-03T06:59:59+01:00", "2026-03-03T07:00:00+01:00"),
        ("2026-03-03T07:00:00+01:00", None),
        ("2026-03-28T23:00:00+01:00", "2026-03-29T07:00:00+02:00"),  # the night when clocks are changed
    ],
)
def test_messages_wait_for_the_end_of_the_night_in_the_zone_of_the_rule(hour: str, until: str | None) -> None:
    quiet = rule(quietHours=[{"from": "22:00", "to": "07:00", "zone": "Europe/Berlin"}])
    found = quiet_until(quiet, Severity.ERROR, datetime.fromisoformat(hour))
    assert found == (datetime.fromisoformat(until) if until else None)
    assert quiet_until(quiet, Severity.CRITICAL, datetime.fromisoformat(hour)) is None


def test_windows_that_follow_each_other_are_one() -> None:
    weekend = rule(
        quietHours=[
            {"from": "00:00", "to": "00:00", "days": ["sat", "sun"]},
            {"from": "22:00", "to": "07:00"},
        ]
    )
    friday = datetime(2026, 3, 6, 23, tzinfo=UTC)
    assert quiet_until(weekend, Severity.INFO, friday) == datetime(2026, 3, 9, 7, tzinfo=UTC)
    always = Rule("r", "ops", ("*",), quiet_hours=(QuietHours("00:00", "00:00"),))
    found = quiet_until(always, Severity.INFO, NOON)
    assert found is not None
    assert found - NOON < timedelta(days=10), "silence for ever is what `enabled` is for"


@pytest.mark.parametrize(
    "windows",
    [
        [{"from": "00:00", "to": "00:00"}],
        [{"from": "09:30", "to": "09:30", "zone": "Asia/Kolkata", "days": list(DAYS)}],
        [{"from": "22:00", "to": "07:00"}, {"from": "07:00", "to": "22:00"}],
        [{"from": "20:00", "to": "08:00"}, {"from": "02:00", "to": "16:00", "zone": "America/New_York"}],
    ],
)
def test_quiet_hours_that_leave_no_moment_are_refused(windows: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidRule, match="they never end; leave them out"):
        rule(quietHours=windows)
    less = [{**windows[0], "days": ["mon", "tue", "wed", "thu", "fri", "sat"]}]
    assert rule(quietHours=less).quiet_hours


_CLOCK = st.builds(lambda hour, minute: f"{hour:02}:{minute:02}", st.integers(0, 23), st.integers(0, 59))
_WINDOWS = st.lists(
    st.builds(
        QuietHours, _CLOCK, _CLOCK, st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata"]),
        st.sets(st.sampled_from(DAYS), max_size=5).map(tuple),
    ),
    max_size=3,
)  # fmt: skip


@given(windows=_WINDOWS, minutes=st.integers(0, 60 * 24 * 400))
def test_a_message_never_waits_for_an_end_that_is_quiet_itself(
    windows: list[QuietHours], minutes: int
) -> None:
    quiet = Rule("r", "ops", ("*",), quiet_hours=tuple(windows))
    now = NOON + timedelta(minutes=minutes)
    until = quiet_until(quiet, Severity.INFO, now)
    if until is not None:
        assert until > now
        # One that is quiet all week is cut off after a week.
        assert quiet_until(quiet, Severity.INFO, until) is None or until - now >= timedelta(days=8)


def test_attempts_come_less_and_less_often_and_never_before_the_receiver_wants_them() -> None:
    for number in range(1, 12):
        early, late = (next_attempt(number, NOON, chance, None) - NOON for chance in (0.0, 1.0))
        pause = PAUSES[min(number, len(PAUSES)) - 1]
        assert (early, late) == (pause * 0.75, pause * 1.25)
    assert next_attempt(1, NOON, 0.5, 90.0) - NOON == timedelta(seconds=90)
    assert next_attempt(1, NOON, 0.5, 1e9) - NOON == timedelta(hours=6)


def test_a_rate_lets_so_many_through_at_once_and_gives_them_back_steadily() -> None:
    limit = RateLimit(policy("testSend", "3/1m"), OwnLeases(lambda: 100.0))
    for _ in range(3):
        limit.take("ci")
    with pytest.raises(NotifyRateExceeded, match=r"notify\.rateLimits\.testSend") as found:
        limit.take("ci")
    assert (found.value.limit, found.value.remaining, found.value.reset) == (3, 0, 20)
    limit.take("other")
    for text in ("", "3", "0/1m", "3/0s", "many/1m", "-1/1m"):
        with pytest.raises(BadRateLimit):
            policy("testSend", text)


def test_texts_are_cut_to_what_every_channel_carries() -> None:
    long = shortened(event(title="a\nb " * 200, text="x" * 9000, facts={"path": "y" * 9000}))
    assert (len(long.title), len(long.text), len(long.facts["path"])) == (200, 2000, 500)
    assert "\n" not in long.title
    assert shortened(event(text="")).text == "it failed", "Slack takes no empty text"
    assert {each.value for each in EventType} == {
        "run.failed", "run.held", "delta.base_missing", "verify.failed", "mirror.stale", "retention.stale",
        "key.expiring",
    }  # fmt: skip
