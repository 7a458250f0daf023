"""Rules: which events are told through which channel, how often, and not at night."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from stellaops.core import durations
from stellaops.notify.channel import is_id, is_line
from stellaops.notify.errors import InvalidRule
from stellaops.notify.event import Event, EventType, Severity, is_named, matches

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_MOST = 20
_LONGEST_PAUSE = timedelta(days=30)
_LONGEST_QUIET = 8
"""Days: windows that follow each other for longer are no quiet hours but silence, which `enabled` is for."""
_SOME_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
"""The begin of a week in which few zones change their clocks."""
_Short = Annotated[str, msgspec.Meta(max_length=200)]


class QuietHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """A time of the day in which messages wait for its end.

    Attributes:
        from_, to: as `22:00` and `07:00`; equal ones stand for a whole day.
        zone: as `Europe/Berlin`.
        days: on which it begins; every day where empty.
    """

    from_: _Short = msgspec.field(name="from")
    to: _Short
    zone: _Short = "UTC"
    days: tuple[Day, ...] = ()


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """Who is told of what.

    Attributes:
        channel: its id.
        events: types, as `run.failed`, `run.*`, `*`.
        severity_at_least: what matters less is not told.
        topics: only events about these, as `profile/trivy:db`, with `*` for any part; all where empty.
        every_tenant: events of all tenants and of the installation; for operators.
        throttle: one message in so long about one topic, as `30m`; each where empty.
        quiet_hours: when messages wait.
        quiet_below: what matters so much or more is told in quiet hours too.
    """

    id: _Short
    channel: _Short
    events: tuple[_Short, ...]
    severity_at_least: Severity = Severity.INFO
    topics: tuple[_Short, ...] = ()
    every_tenant: bool = False
    throttle: _Short = ""
    quiet_hours: tuple[QuietHours, ...] = ()
    quiet_below: Severity = Severity.CRITICAL
    name: _Short = ""
    enabled: bool = True

    @property
    def pause(self) -> timedelta:
        """How long nothing more is told about one topic."""
        return durations.parse(self.throttle, seconds=True) or timedelta()

    def to_wire(self) -> dict[str, Any]:
        """The rule as scripts read it: with what was left out."""
        return {
            "id": self.id,
            "name": self.name or None,
            "enabled": self.enabled,
            "channel": self.channel,
            "events": list(self.events),
            "severityAtLeast": self.severity_at_least.value,
            "topics": list(self.topics),
            "everyTenant": self.every_tenant,
            "throttle": self.throttle or None,
            "quietHours": [
                {"from": each.from_, "to": each.to, "zone": each.zone, "days": list(each.days)}
                for each in self.quiet_hours
            ],
            "quietBelow": self.quiet_below.value,
        }


def read(document: object) -> Rule:
    """The rule of a document.

    Raises:
        InvalidRule: with all that is wrong.
    """
    try:
        rule = msgspec.convert(document, Rule)
    except msgspec.ValidationError as error:
        raise InvalidRule(f"the rule: {error}") from None
    if problems := list(_problems(rule)):
        raise InvalidRule(f"rule {rule.id[:80]}: {'; '.join(problems)}", details=problems)
    return rule


def applies(rule: Rule, owner: str, event: Event) -> bool:
    """Whether a rule of a tenant tells of an event."""
    own = rule.every_tenant or event.tenant == owner
    loud = event.severity.rank >= rule.severity_at_least.rank
    return rule.enabled and own and loud and is_named(rule.events, event) and _about(rule.topics, event.topic)


def quiet_until(rule: Rule, severity: Severity, now: datetime) -> datetime | None:
    """When the quiet hours that hold a message back end; None where none do."""
    if severity.rank >= rule.quiet_below.rank:
        return None
    moment = _quiet_end(rule.quiet_hours, now)
    return moment if moment > now else None


def _quiet_end(windows: Sequence[QuietHours], now: datetime) -> datetime:
    """When windows that follow each other end, or a moment after the longest time that is looked at."""
    moment, last = now, now + timedelta(days=_LONGEST_QUIET)
    while moment < last:
        ends = [end for window in windows for end in _end_of(window, moment)]
        if not ends:
            break
        moment = max(ends)
    return moment


def _end_of(window: QuietHours, moment: datetime) -> Iterator[datetime]:
    """When a window that is open at a moment closes."""
    zone = ZoneInfo(window.zone)
    begin, end = time.fromisoformat(window.from_), time.fromisoformat(window.to)
    today = moment.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        if window.days and DAYS[day.weekday()] not in window.days:
            continue
        closes = _instant(day + timedelta(days=1) if end <= begin else day, end, zone)
        if _instant(day, begin, zone) <= moment < closes:
            yield closes


def _instant(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, clock, zone).astimezone(UTC)


def _about(topics: Sequence[str], topic: str) -> bool:
    return not topics or any(matches(each, topic) for each in topics)


def _problems(rule: Rule) -> Iterator[str]:
    for name, text in (("id", rule.id), ("channel", rule.channel)):
        if not is_id(text):
            yield f"{name}: 1 to 63 of a-z, 0-9 and - are needed, not {text[:80]!r}"
    if not is_line(rule.name):
        yield "name: one line is needed"
    yield from _event_problems(rule.events)
    if rule.throttle and not timedelta() < rule.pause <= _LONGEST_PAUSE:
        yield f"throttle: {rule.throttle[:80]!r} is no duration such as 30m, of at most {_LONGEST_PAUSE.days} days"
    for name, values in (("topics", rule.topics), ("events", rule.events), ("quietHours", rule.quiet_hours)):
        if len(values) > _MOST:
            yield f"{name}: at most {_MOST} are taken"
    wrong = [problem for window in rule.quiet_hours for problem in _window_problems(window)]
    yield from wrong
    if not wrong and _is_always_quiet(rule.quiet_hours[:_MOST]):
        yield "quietHours: they never end; leave them out, or switch the rule off with enabled: false"


def _is_always_quiet(windows: Sequence[QuietHours]) -> bool:
    """Whether no moment of a week is left in which messages go out."""
    return _quiet_end(windows, _SOME_MONDAY) >= _SOME_MONDAY + timedelta(days=_LONGEST_QUIET)


def _event_problems(patterns: Sequence[str]) -> Iterator[str]:
    known = [each.value for each in EventType]
    if not patterns:
        yield f"events: at least one is needed, of {', '.join(known)}; * stands for any part"
    for pattern in patterns:
        if not any(matches(pattern, each) for each in known):
            yield f"events: {pattern[:80]!r} names none of {', '.join(known)}"


def _window_problems(window: QuietHours) -> Iterator[str]:
    for name, text in (("from", window.from_), ("to", window.to)):
        if not _TIME.fullmatch(text):
            yield f"quietHours.{name}: a time as 22:00 is needed, not {text[:80]!r}"
    try:
        ZoneInfo(window.zone)
    except (KeyError, ValueError, OSError):
        yield f"quietHours.zone: {window.zone[:80]!r} is no time zone such as Europe/Berlin"
