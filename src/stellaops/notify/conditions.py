"""What is not an event that somebody writes down, but a state that somebody has to notice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stellaops.core import timestamps
from stellaops.notify.event import Event, EventType, Severity, event_id

RETENTION_LATE = timedelta(hours=26)
"""It is done once a day; so much later something is wrong."""
SOON = timedelta(days=3)
"""What ends sooner is urgent."""
LATE, OVER = 1, 2
"""Levels of a condition: it begins, it has become worse."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A state that holds.

    Attributes:
        name: the same as long as it holds.
        level: `LATE` or `OVER`; told again when it grows.
        event: what is told of it.
    """

    name: str
    level: int
    event: Event


@dataclass(frozen=True, slots=True)
class Tree:
    """What is known of one side of a domain of a mirror.

    Attributes:
        issued: when it was last said to be the newest.
        expires: when that statement ends.
    """

    tenant: str
    side: str
    domain: str
    cadence: timedelta
    issued: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Ending:
    """Something that opens a door and ends at an instant, or is to be renewed by then.

    Attributes:
        what: its kind: `client secret`, `download token`.
        name: which one.
        at: when it ends; None where it has no end.
        renew_by: when it gets too old; None where it may get as old as it likes.
        hint: what to do.
        label: what people call it, beside its name.
    """

    tenant: str
    what: str
    name: str
    at: datetime | None
    renew_by: datetime | None
    hint: str
    label: str = ""


def stale_mirrors(trees: Sequence[Tree], now: datetime) -> Iterator[Condition]:
    """Domains whose newest statement is older than one and a half of their cadences, or has ended."""
    for each in trees:
        late = now - each.issued > each.cadence * 1.5
        over = now >= each.expires
        if not (late or over):
            continue
        what = "has expired: readers that look refuse it" if over else "was not published when it was due"
        facts = {
            "domain": each.domain, "side": each.side,
            "published": _second(each.issued), "expires": _second(each.expires),
        }  # fmt: skip
        kind, topic = EventType.MIRROR_STALE, f"domain/{each.side}/{each.domain}"
        event = Event(
            id=_id(kind, each.tenant, topic, now),
            type=kind.value,
            at=now,
            tenant=each.tenant,
            severity=Severity.CRITICAL if over else Severity.WARNING,
            topic=topic,
            title=f"{each.side} of mirror domain {each.domain} is stale",
            text=f"{each.side} of the domain {each.domain} {what}.",
            hint="Run `stella mirror publish`; see `stella mirror status` for what holds it up.",
            facts=facts,
        )
        yield Condition(f"mirror.stale|{each.side}|{each.domain}", OVER if over else LATE, event)


def stale_retention(succeeded: datetime | None, since: datetime, now: datetime) -> Iterator[Condition]:
    """Retention that has not succeeded for too long.

    Args:
        succeeded: when it last did; None for never.
        since: since when anybody looks.
    """
    if now - (succeeded or since) <= RETENTION_LATE:
        return
    last = _second(succeeded) if succeeded else "never"
    kind = EventType.RETENTION_STALE
    event = Event(
        id=_id(kind, "", "retention", now),
        type=kind.value,
        at=now,
        tenant="",
        severity=Severity.ERROR,
        topic="retention",
        title="retention is late",
        text="What is over has not been removed for more than 26 hours.",
        hint="See `stella export chores` and the workers' log, or run `stella export retention run --every-tenant`.",
        facts={"last success": last},
    )
    yield Condition("retention.stale", LATE, event)


def ending_keys(endings: Sequence[Ending], notice: timedelta, now: datetime) -> Iterator[Condition]:
    """What ends within the notice, or has got too old."""
    for each in endings:
        told = _ending(each, notice, now)
        if told is None:
            continue
        level, severity, words = told
        shown = f"{each.name} ({each.label})" if each.label else each.name
        facts = {"what": each.what, "name": shown}
        facts |= {"ends": _second(each.at)} if each.at else {}
        kind, topic = EventType.KEY_EXPIRING, f"{each.what.replace(' ', '-')}/{each.name}"
        event = Event(
            id=_id(kind, each.tenant, topic, now),
            type=kind.value,
            at=now,
            tenant=each.tenant,
            severity=severity,
            topic=topic,
            title=f"{each.what} {shown} {words}",
            text=f"The {each.what} {shown} {words}.",
            hint=each.hint,
            facts=facts,
        )
        yield Condition(f"key.expiring|{each.tenant}|{each.what}|{each.name}", level, event)


def _ending(each: Ending, notice: timedelta, now: datetime) -> tuple[int, Severity, str] | None:
    if each.at is not None and now < each.at <= now + notice:
        soon = each.at <= now + min(SOON, notice / 2)
        words = f"ends at {_second(each.at)}"
        return (OVER, Severity.ERROR, words) if soon else (LATE, Severity.WARNING, words)
    if each.renew_by is not None and now >= each.renew_by:
        return LATE, Severity.WARNING, f"was to be renewed by {_second(each.renew_by)}"
    return None


def _second(moment: datetime) -> str:
    return timestamps.render(moment.replace(microsecond=0))


def _id(kind: EventType, tenant: str, topic: str, now: datetime) -> str:
    """One id for one state at one instant, whoever notices it."""
    return event_id(now, hashlib.sha256(f"{kind}\n{tenant}\n{topic}".encode()).hexdigest()[:12])
