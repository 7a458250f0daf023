"""Deliveries of notifications: what waits, who has it in hand, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Engine, Select, delete, func, insert, select, update
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.metering import count
from stellaops.adapters.sql.notify_schema import notify_delivery_t
from stellaops.adapters.sql.sources import instant
from stellaops.core.timestamps import EPOCH
from stellaops.ingest.import_documents import microseconds
from stellaops.notify.delivery import LEASE, Delivery, Status
from stellaops.notify.event import Event
from stellaops.notify.ports import EVERY_DELIVERY, DeliveryFilter

DELIVERIES = "notify_deliveries_total"
"""Counts attempts, by kind of channel and outcome: `delivered`, `retried`, `failed`."""
_TABLE = notify_delivery_t


class _Record(msgspec.Struct, omit_defaults=True):
    """The parts of a delivery that nothing is looked up by. Later releases add fields, with defaults."""

    event: Event
    created_at: datetime
    held_back: int = 0
    kind: str = ""
    target: str = ""
    title: str = ""
    answer: str = ""
    error_code: str = ""
    error: str = ""
    note: str = ""
    trace_id: str = ""


_SAME = _Record.__struct_fields__


class SqlDeliveries:
    """`notify.ports.Deliveries`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def add(self, delivery: Delivery) -> None:
        """See the port."""
        with writing(self._engine) as connection:
            connection.execute(insert(_TABLE).values(row_of(delivery)))

    def get(self, tenant: str, delivery: str) -> Delivery | None:
        """See the port."""
        found = self._read(select(_TABLE).where(_TABLE.c.tenant == tenant, _TABLE.c.id == delivery))
        return found[0] if found else None

    def list(
        self,
        tenant: str,
        which: DeliveryFilter = EVERY_DELIVERY,
        *,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Delivery]:
        """See the port."""
        statement = select(_TABLE).where(_TABLE.c.tenant == tenant, *_conditions(which))
        if before is not None:
            statement = statement.where(_TABLE.c.id < before)
        return self._read(statement.order_by(_TABLE.c.id.desc()).limit(limit))

    def due(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """See the port."""
        statement = select(_TABLE).where(*_is_due(now)).order_by(_TABLE.c.next_at, _TABLE.c.id)
        return self._read(statement.limit(limit))

    @retried
    def claim(self, delivery: Delivery, now: datetime) -> Delivery | None:
        """See the port."""
        own = (_TABLE.c.id == delivery.id, _TABLE.c.attempts == delivery.attempts, *_is_due(now))
        taken = {"leased_until": microseconds(now + LEASE), "attempts": delivery.attempts + 1}
        with writing(self._engine) as connection:
            if not connection.execute(update(_TABLE).where(*own).values(taken)).rowcount:
                return None
        return replace(delivery, attempts=delivery.attempts + 1)

    @retried
    def settle(self, delivery: Delivery) -> bool:
        """See the port. The attempt is counted in the same transaction."""
        pending = _TABLE.c.status == Status.PENDING.value
        own = (_TABLE.c.id == delivery.id, _TABLE.c.attempts == delivery.attempts, pending)
        outcome = "retried" if delivery.status is Status.PENDING else delivery.status.value
        with writing(self._engine) as connection:
            if not connection.execute(update(_TABLE).where(*own).values(_changing(delivery))).rowcount:
                return False
            count(connection, DELIVERIES, {"channel_kind": delivery.kind or "none", "outcome": outcome}, 1)
        return True

    @retried
    def restart(self, delivery: Delivery) -> bool:
        """See the port."""
        own = (_TABLE.c.id == delivery.id, _TABLE.c.status == Status.FAILED.value)
        values = _changing(delivery) | {"attempts": delivery.attempts}
        with writing(self._engine) as connection:
            return bool(connection.execute(update(_TABLE).where(*own).values(values)).rowcount)

    def counts(self) -> Mapping[Status, int]:
        """See the port."""
        statement = select(_TABLE.c.status, func.count()).group_by(_TABLE.c.status)
        with reading(self._engine) as connection:
            found = {Status(status): int(number) for status, number in connection.execute(statement)}
        return {status: found.get(status, 0) for status in Status}

    def prune(self, before: datetime) -> int:
        """See the port."""
        with writing(self._engine) as connection:
            gone = connection.execute(delete(_TABLE).where(_TABLE.c.finished_at < microseconds(before)))
        return int(gone.rowcount)

    def _read(self, statement: Select[Any]) -> Sequence[Delivery]:
        with reading(self._engine) as connection:
            return [_delivery(row) for row in connection.execute(statement)]


def row_of(delivery: Delivery) -> dict[str, Any]:
    """The row of a new delivery."""
    return _changing(delivery) | {
        "id": delivery.id,
        "tenant": delivery.tenant,
        "channel": delivery.channel,
        "rule": delivery.rule,
        "types": f" {' '.join(delivery.event.types)} ",
        "attempts": delivery.attempts,
    }


def _changing(delivery: Delivery) -> dict[str, Any]:
    ended = delivery.finished_at
    record = _Record(**{name: getattr(delivery, name) for name in _SAME})
    return {
        "status": delivery.status.value,
        "next_at": microseconds(delivery.next_at),
        "leased_until": 0,
        "finished_at": microseconds(ended) if ended else None,
        "record": msgspec.json.encode(record),
    }


def _is_due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    moment = microseconds(now)
    pending = _TABLE.c.status == Status.PENDING.value
    return (pending, _TABLE.c.next_at <= moment, _TABLE.c.leased_until <= moment)


def _conditions(which: DeliveryFilter) -> Iterator[ColumnElement[bool]]:
    if which.status is not None:
        yield _TABLE.c.status == which.status.value
    if which.channel is not None:
        yield _TABLE.c.channel == which.channel
    if which.rule is not None:
        yield _TABLE.c.rule == which.rule
    if which.event is not None:
        yield _TABLE.c.types.contains(f" {which.event} ", autoescape=True)


def _delivery(row: Any) -> Delivery:
    record = msgspec.json.decode(row.record, type=_Record)
    return Delivery(
        **{name: getattr(record, name) for name in _SAME},
        id=row.id,
        tenant=row.tenant,
        channel=row.channel,
        rule=row.rule,
        status=Status(row.status),
        next_at=instant(row.next_at) or EPOCH,
        attempts=row.attempts,
        finished_at=instant(row.finished_at),
    )
