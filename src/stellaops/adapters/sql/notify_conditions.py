"""What was noticed by looking, so that it is told once; and whose turn it is to look and to send."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, insert, or_, select, update

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.notify_outbox import note
from stellaops.adapters.sql.notify_schema import notify_condition_t, notify_rule_t, notify_turn_t
from stellaops.adapters.sql.sources import instant
from stellaops.core.timestamps import EPOCH
from stellaops.ingest.import_documents import microseconds
from stellaops.notify.conditions import Condition

TURN = timedelta(seconds=30)
"""How long a turn lasts whose holder has died."""
_TURN = "notify"
_WATCHING = "watching"
"""The name of the condition that tells since when anybody looks."""


class SqlConditions:
    """Conditions that hold, by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def wanted(self) -> bool:
        """Whether any rule is in force: else nobody has to look."""
        statement = select(notify_rule_t.c.id).where(notify_rule_t.c.enabled).limit(1)
        with reading(self._engine) as connection:
            return connection.execute(statement).first() is not None

    @retried
    def watching_since(self, now: datetime) -> datetime:
        """Since when anybody looks: what never happened is late from then on."""
        table = notify_condition_t
        with writing(self._engine) as connection:
            own = table.c.name == _WATCHING
            since = connection.execute(select(table.c.since).where(own)).scalar()
            if since is None:
                since = microseconds(now)
                connection.execute(insert(table).values(name=_WATCHING, level=0, since=since))
        return instant(since) or EPOCH

    @retried
    def found(self, conditions: Sequence[Condition], now: datetime) -> int:
        """Take in all that holds now: what does so for the first time, or is worse, is told; how much was.

        What does not hold any more is forgotten, and would be told again.
        """
        table = notify_condition_t
        with writing(self._engine) as connection:
            known = {
                row.name: row.level
                for row in connection.execute(select(table).where(table.c.name != _WATCHING))
            }
            told = [each for each in conditions if each.level > known.get(each.name, 0)]
            for each in told:
                if each.name in known:
                    connection.execute(
                        update(table).where(table.c.name == each.name).values(level=each.level)
                    )
                else:
                    values = {"name": each.name, "level": each.level, "since": microseconds(now)}
                    connection.execute(insert(table).values(values))
            over = set(known) - {each.name for each in conditions}
            for name in sorted(over):
                connection.execute(delete(table).where(table.c.name == name))
            note(connection, [each.event for each in told])
        return len(told)


class SqlNotifyTurn:
    """Whose turn it is: one process of all looks and sends, another when that one has died."""

    def __init__(self, engine: Engine, holder: str) -> None:
        self._engine, self._holder = engine, holder

    def take(self, now: datetime) -> bool:
        """Take the turn, or keep it; whether it is this process's now. Mostly a look is enough."""
        table = notify_turn_t
        with reading(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.name == _TURN)).first()
        if row is not None and row.until > microseconds(now):
            if row.holder != self._holder:
                return False
            if row.until > microseconds(now + TURN / 2):
                return True
        return self._take(now)

    @retried
    def _take(self, now: datetime) -> bool:
        table, moment = notify_turn_t, microseconds(now)
        values = {"holder": self._holder, "until": microseconds(now + TURN)}
        free = or_(table.c.holder == self._holder, table.c.until <= moment)
        with writing(self._engine, durable=False) as connection:
            if connection.execute(update(table).where(table.c.name == _TURN, free).values(values)).rowcount:
                return True
            if connection.execute(select(table.c.name).where(table.c.name == _TURN)).first() is not None:
                return False
            connection.execute(insert(table).values(name=_TURN, **values))
            return True

    def give_up(self) -> None:
        """Let another process take the turn at once."""
        table = notify_turn_t
        with writing(self._engine) as connection:
            connection.execute(delete(table).where(table.c.holder == self._holder))
