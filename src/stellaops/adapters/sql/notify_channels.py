"""Channels and rules of notifications, in the service store."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Table, delete, insert, select, update

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.notify_schema import notify_channel_t, notify_rule_t, notify_throttle_t
from stellaops.notify.channel import Channel
from stellaops.notify.errors import ChannelExists, RuleExists
from stellaops.notify.rule import Rule

_LOG = logging.getLogger("stellaops.notify")


class _Channel(msgspec.Struct):
    kind: str
    settings: dict[str, Any]
    name: str = ""
    enabled: bool = True


class SqlChannels:
    """`notify.ports.Channels`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, tenant: str, channel: str) -> Channel | None:
        """See the port."""
        table = notify_channel_t
        statement = select(table).where(table.c.tenant == tenant, table.c.id == channel)
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        return _channel(row) if row else None

    def list(self, tenant: str) -> Sequence[Channel]:
        """See the port."""
        table = notify_channel_t
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(table).where(table.c.tenant == tenant).order_by(table.c.id)
            ).all()
        return [_channel(row) for row in rows]

    @retried
    def put(self, channel: Channel, *, new: bool) -> None:
        """See the port."""
        record = _Channel(channel.kind, dict(channel.settings), channel.name, channel.enabled)
        with writing(self._engine) as connection:
            key = {"tenant": channel.tenant, "id": channel.id}
            if not _put(connection, notify_channel_t, key, {"record": msgspec.json.encode(record)}, new=new):
                raise ChannelExists(f"tenant {channel.tenant} has a channel {channel.id}")

    def delete(self, tenant: str, channel: str) -> bool:
        """See the port."""
        table = notify_channel_t
        with writing(self._engine) as connection:
            gone = connection.execute(delete(table).where(table.c.tenant == tenant, table.c.id == channel))
        return bool(gone.rowcount)


class SqlRules:
    """`notify.ports.Rules`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, tenant: str, rule: str) -> Rule | None:
        """See the port."""
        table = notify_rule_t
        statement = select(table.c.record).where(table.c.tenant == tenant, table.c.id == rule)
        with reading(self._engine) as connection:
            record = connection.execute(statement).scalar()
        return None if record is None else _rule(record)

    def list(self, tenant: str) -> Sequence[Rule]:
        """See the port."""
        table = notify_rule_t
        statement = select(table.c.record).where(table.c.tenant == tenant).order_by(table.c.id)
        with reading(self._engine) as connection:
            return [_rule(record) for record in connection.execute(statement).scalars()]

    def enabled(self) -> Sequence[tuple[str, Rule]]:
        """See the port: by tenant and id."""
        table = notify_rule_t
        statement = select(table).where(table.c.enabled)
        with reading(self._engine) as connection:
            rows = connection.execute(statement.order_by(table.c.tenant, table.c.id)).all()
        return list(_sound(rows))

    @retried
    def put(self, tenant: str, rule: Rule, *, new: bool) -> None:
        """See the port. What was held back by the rule as it was is forgotten."""
        values = {"enabled": rule.enabled, "record": msgspec.json.encode(rule)}
        with writing(self._engine) as connection:
            if not _put(connection, notify_rule_t, {"tenant": tenant, "id": rule.id}, values, new=new):
                raise RuleExists(f"tenant {tenant} has a rule {rule.id}")
            _forget_throttle(connection, tenant, rule.id)

    def delete(self, tenant: str, rule: str) -> bool:
        """See the port."""
        table = notify_rule_t
        with writing(self._engine) as connection:
            gone = connection.execute(delete(table).where(table.c.tenant == tenant, table.c.id == rule))
            _forget_throttle(connection, tenant, rule)
        return bool(gone.rowcount)


def _put(
    connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any], *, new: bool
) -> bool:
    own = [table.c[name] == value for name, value in key.items()]
    if new:
        if connection.execute(select(table.c.id).where(*own)).first() is not None:
            return False
    elif connection.execute(update(table).where(*own).values(values)).rowcount:
        return True
    connection.execute(insert(table).values(**key, **values))
    return True


def _forget_throttle(connection: Connection, tenant: str, rule: str) -> None:
    table = notify_throttle_t
    connection.execute(delete(table).where(table.c.tenant == tenant, table.c.rule == rule))


def _sound(rows: Sequence[Any]) -> Iterator[tuple[str, Rule]]:
    """Rules that this release understands: one that a later release has written must not silence all others."""
    for row in rows:
        try:
            yield row.tenant, _rule(row.record)
        except msgspec.MsgspecError as error:
            _LOG.error("rule %s of tenant %s is left out: %s", row.id, row.tenant, error)


def _channel(row: Any) -> Channel:
    record = msgspec.json.decode(row.record, type=_Channel)
    return Channel(row.tenant, row.id, record.kind, record.settings, record.name, record.enabled)


def _rule(record: bytes) -> Rule:
    return msgspec.json.decode(record, type=Rule)
