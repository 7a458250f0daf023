"""Events that are to be told: written in the transaction of what they tell of, and turned into deliveries once."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.notify_deliveries import row_of
from stellaops.adapters.sql.notify_schema import (
    notify_delivery_t,
    notify_outbox_t,
    notify_rule_t,
    notify_throttle_t,
)
from stellaops.adapters.sql.sources import instant
from stellaops.exports import errors
from stellaops.exports.distribution.verify_targets import FAILED, TargetCheck
from stellaops.exports.events import Event as RunEvent
from stellaops.exports.events import EventType as RunEventType
from stellaops.exports.run import Run
from stellaops.ingest.import_documents import microseconds
from stellaops.notify.event import Event, EventType, Severity, event_id, shortened
from stellaops.notify.ports import Expand
from stellaops.notify.rule import Rule

_LOG = logging.getLogger("stellaops.notify")
_KINDS = {
    "base_missing": (EventType.BASE_MISSING, Severity.ERROR, errors.BaseMissing.hint),
    "verify": (EventType.VERIFY_FAILED, Severity.CRITICAL, errors.VerifyFailed.hint),
    "signing": (EventType.RUN_FAILED, Severity.ERROR, errors.SigningFailed.hint),
    "distribution": (EventType.RUN_FAILED, Severity.ERROR, errors.DistributionFailed.hint),
    "quota": (EventType.RUN_FAILED, Severity.ERROR, errors.RunQuotaExceeded.hint),
    "timeout": (EventType.RUN_FAILED, Severity.ERROR, errors.RunTimeout.hint),
    "gate": (EventType.RUN_FAILED, Severity.ERROR, errors.GateRefused.hint),
    "empty": (EventType.RUN_FAILED, Severity.ERROR, errors.EmptyExport.hint),
    "policy": (EventType.RUN_FAILED, Severity.ERROR, errors.PolicySnapshotRequired.hint),
    "unsupported_schema": (EventType.RUN_FAILED, Severity.ERROR, errors.UnsupportedSchema.hint),
}
"""What a failed run is told as, by its error code."""
_OTHER = (
    EventType.RUN_FAILED,
    Severity.ERROR,
    "Look at the run with `stella export run show`, then replay it.",
)
_APPROVE = "Look at it with `stella export run show`, then let it go on with `stella export run approve`."
_LOOK = "Look at it with `stella export target verify --last`, then bring the bundle there again."


class SqlOutbox:
    """`notify.ports.Outbox`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def add(self, events: Sequence[Event]) -> None:
        """See the port."""
        with writing(self._engine) as connection:
            note(connection, events)

    @retried
    def expand(self, expand: Expand, limit: int) -> int:
        """See the port."""
        table = notify_outbox_t
        with reading(self._engine) as connection:
            rows = connection.execute(select(table).order_by(table.c.id).limit(limit)).all()
        if not rows:
            return 0
        with writing(self._engine) as connection:
            for row in rows:
                # Whose deletion counts is the one who expands it.
                if connection.execute(delete(table).where(table.c.id == row.id)).rowcount:
                    _expanded(connection, row, expand)
        return len(rows)

    def waiting(self) -> tuple[int, datetime | None]:
        """See the port."""
        table = notify_outbox_t
        with reading(self._engine) as connection:
            number, oldest = connection.execute(
                select(func.count(), func.min(table.c.at)).select_from(table)
            ).one()
        return int(number), instant(oldest)


def _expanded(connection: Connection, row: Any, expand: Expand) -> None:
    try:
        event = msgspec.json.decode(row.record, type=Event)
    except msgspec.MsgspecError as error:
        _LOG.error("event %s is left out: %s", row.id, error)
        return
    made = expand(event, lambda tenant, rule, event: _throttled(connection, tenant, rule, event))
    if made:
        connection.execute(insert(notify_delivery_t), [row_of(each) for each in made])


def note(connection: Connection, events: Sequence[Event]) -> None:
    """Write events down, in the transaction of what they tell of; nothing where nobody has a rule."""
    if not events:
        return
    if connection.execute(select(notify_rule_t.c.id).where(notify_rule_t.c.enabled).limit(1)).first() is None:
        return
    rows = [
        {"id": each.id, "at": microseconds(each.at), "record": msgspec.json.encode(shortened(each))}
        for each in events
    ]
    connection.execute(insert(notify_outbox_t), rows)


def note_run(connection: Connection, run: Run, events: Sequence[RunEvent]) -> None:
    """Write down what the events of a run give somebody to do."""
    note(connection, [made for event in events for made in _of_run(run, event)])


def note_check(connection: Connection, check: TargetCheck) -> None:
    """Write down that what a target has was found wrong."""
    if check.status != FAILED:
        return
    what = "; ".join(f"{name}: {detail}" for name, detail in check.failed)
    facts = {
        "target": check.target, "profile": check.profile, "runId": check.run_id, "reference": check.reference,
    }  # fmt: skip
    event = Event(
        _id(check.at), EventType.VERIFY_FAILED.value, check.at, check.tenant, Severity.CRITICAL,
        f"target/{check.target}/{check.profile}",
        f"the bundle of {check.profile} at target {check.target} is wrong", what, _LOOK,
        {name: value for name, value in facts.items() if value},
    )  # fmt: skip
    note(connection, [event])


def _of_run(run: Run, event: RunEvent) -> Iterator[Event]:
    facts = {"runId": run.id, "profile": run.profile, "kind": run.kind}
    topic = f"profile/{run.profile}"
    if event.type is RunEventType.HELD:
        yield Event(
            _id(event.at), EventType.RUN_HELD.value, event.at, run.tenant, Severity.WARNING, topic,
            f"a run of {run.profile} waits for an approval", "; ".join(run.held) or "it is held", _APPROVE, facts,
        )  # fmt: skip
    elif event.type is RunEventType.FAILED:
        code = run.error_code or "internal"
        kind, severity, hint = _KINDS.get(code, _OTHER)
        also = () if kind is EventType.RUN_FAILED else (EventType.RUN_FAILED.value,)
        yield Event(
            _id(event.at), kind.value, event.at, run.tenant, severity, topic, f"a run of {run.profile} failed: {code}",
            run.error or code, hint, facts | {"errorCode": code}, also,
        )  # fmt: skip


def _id(at: datetime) -> str:
    return event_id(at, secrets.token_hex(6))


def _throttled(connection: Connection, tenant: str, rule: Rule, event: Event) -> int | None:
    """See `notify.ports.Throttled`: the row's lock puts those that ask at once in order."""
    if not rule.pause:
        return 0
    table = notify_throttle_t
    about, now = f"{event.type} {event.topic}", microseconds(event.at)
    own = (table.c.tenant == tenant, table.c.rule == rule.id, table.c.about == about)
    until = microseconds(event.at + rule.pause)
    row = connection.execute(select(table).where(*own).with_for_update()).first()
    if row is None:
        values = {"tenant": tenant, "rule": rule.id, "about": about, "until": until, "held_back": 0}
        connection.execute(insert(table).values(values))
        return 0
    if now < row.until:
        connection.execute(update(table).where(*own).values(held_back=table.c.held_back + 1))
        return None
    connection.execute(update(table).where(*own).values(until=until, held_back=0))
    return int(row.held_back)


def prune_throttles(engine: Engine, now: datetime) -> None:
    """Forget what holds nothing back any more and has held nothing back for a month."""
    table = notify_throttle_t
    with writing(engine) as connection:
        connection.execute(delete(table).where(table.c.until < microseconds(now - timedelta(days=31))))
