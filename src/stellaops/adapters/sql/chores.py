"""Work that is done by itself now and then, by one worker of all: when it was last done, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Engine, and_, insert, or_, select, update

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.sources import instant
from stellaops.adapters.sql.upkeep_schema import chore_t
from stellaops.core import timestamps
from stellaops.core.timestamps import EPOCH
from stellaops.ingest.import_documents import microseconds

LEASE = timedelta(minutes=2)
"""How long a chore whose worker has died is in its hands yet; a live one renews it."""
AGAIN = timedelta(minutes=15)
"""After which a chore that failed is done again."""


@dataclass(frozen=True, slots=True)
class Last:
    """What is known of a chore.

    Attributes:
        begun_at: the last time, by whomever.
        finished_at: when the last one that ended did; None where none has.
        succeeded_at: when one last ended as it should.
        ok: whether the last one that ended did.
        report: what it said.
    """

    name: str
    begun_at: datetime
    finished_at: datetime | None
    succeeded_at: datetime | None
    ok: bool | None
    report: Mapping[str, Any]

    def to_wire(self) -> dict[str, Any]:
        """As scripts read it."""
        return {
            "chore": self.name,
            "begunAt": timestamps.render(self.begun_at),
            "finishedAt": timestamps.render(self.finished_at) if self.finished_at else None,
            "succeededAt": timestamps.render(self.succeeded_at) if self.succeeded_at else None,
            "ok": self.ok,
            "report": dict(self.report),
        }


class SqlChores:
    """The chores of an installation, by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def claim(self, name: str, now: datetime, every: timedelta) -> bool:
        """Take a chore on, where it is due and in nobody's hands; exactly one of all that ask is told yes.

        Due is what was last begun `every` ago or earlier, what failed a while ago, and what a worker took on and did
        not live to finish.
        """
        moment = microseconds(now)
        taken = {"begun_at": moment, "leased_until": microseconds(now + LEASE)}
        free = chore_t.c.leased_until <= moment
        with writing(self._engine) as connection:
            mine = update(chore_t).where(chore_t.c.name == name, free, _is_due(now, every)).values(taken)
            if connection.execute(mine).rowcount:
                return True
            if connection.execute(select(chore_t.c.name).where(chore_t.c.name == name)).first():
                return False
            # Two that find nothing at once: one of them meets the other's row, and looks again.
            connection.execute(insert(chore_t).values(name=name, report=b"{}", **taken))
            return True

    @retried
    def renew(self, name: str, now: datetime) -> None:
        """Go on with a chore that was taken on."""
        with writing(self._engine) as connection:
            connection.execute(
                update(chore_t)
                .where(chore_t.c.name == name, chore_t.c.leased_until > 0)
                .values(leased_until=microseconds(now + LEASE))
            )

    @retried
    def release(self, name: str) -> None:
        """Give a chore back that was not finished: another worker may take it on at once."""
        with writing(self._engine) as connection:
            given = update(chore_t).where(chore_t.c.name == name, chore_t.c.leased_until > 0)
            connection.execute(given.values(begun_at=0, leased_until=0))

    @retried
    def finished(self, name: str, now: datetime, *, ok: bool, report: Mapping[str, Any]) -> None:
        """A chore has ended, also one that somebody did by hand.

        Args:
            report: what it says, as JSON can hold it.
        """
        moment = microseconds(now)
        values = {"finished_at": moment, "ok": ok, "report": msgspec.json.encode(report), "leased_until": 0}
        if ok:
            values["succeeded_at"] = moment
        with writing(self._engine) as connection:
            if not connection.execute(update(chore_t).where(chore_t.c.name == name).values(values)).rowcount:
                connection.execute(insert(chore_t).values(name=name, begun_at=moment, **values))

    def last(self, name: str) -> Last | None:
        """What is known of a chore; None where it was never begun."""
        return next((each for each in self.all() if each.name == name), None)

    def all(self) -> Sequence[Last]:
        """Every chore that was ever begun, by name."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(chore_t).order_by(chore_t.c.name)).all()
        return [
            Last(
                row.name,
                instant(row.begun_at) or EPOCH,
                instant(row.finished_at),
                instant(row.succeeded_at),
                row.ok,
                msgspec.json.decode(row.report, type=dict[str, Any]),
            )
            for row in rows
        ]


def _is_due(now: datetime, every: timedelta) -> ColumnElement[bool]:
    late = chore_t.c.begun_at <= microseconds(now - every)
    failed = and_(chore_t.c.ok.is_(False), chore_t.c.finished_at <= microseconds(now - AGAIN))
    lost = and_(chore_t.c.leased_until > 0, chore_t.c.leased_until <= microseconds(now))
    return or_(late, and_(failed, chore_t.c.begun_at <= chore_t.c.finished_at), lost)
