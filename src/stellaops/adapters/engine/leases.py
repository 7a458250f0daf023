"""Who is alive: every worker gives a sign of life each second, by the database's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, case, delete, func, insert, literal_column, select, update
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql.engine import reading, writing
from stellaops.adapters.sql.worker_schema import worker_t

BEAT = 1.0
"""Seconds between two signs of life."""
SILENCE = 5.0
"""Seconds without one after which a worker counts as lost."""
STEADY = 3.0
"""Seconds that a worker has lived without a gap before it judges others: after an outage everyone was silent."""

RUNNING, DRAINING, LOST = "running", "draining", "lost"


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker, as it last said."""

    id: str
    state: str
    slots: int
    seen_at: datetime


class Leases:
    """The signs of life of all workers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        clocks = {
            "postgresql": "extract(epoch from clock_timestamp())",
            "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
        }
        self._now: ColumnElement[float] = literal_column(clocks[engine.dialect.name])

    def enter(self, worker: str, slots: int, started_at: int) -> None:
        """Begin to live."""
        with writing(self._engine) as connection:
            connection.execute(
                insert(worker_t).values(
                    id=worker, state=RUNNING, slots=slots, started_at=started_at, beat=self._now
                )
            )

    def beat(self, worker: str, state: str) -> bool:
        """Give a sign of life; False where the others hold this worker for lost and have taken over from it."""
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(worker_t).where(worker_t.c.id == worker).values(state=state, beat=self._now)
            )
            return changed.rowcount == 1

    def give_up(self, worker: str) -> None:
        """Have the others take over at once."""
        with writing(self._engine) as connection:
            connection.execute(
                update(worker_t).where(worker_t.c.id == worker).values(state=DRAINING, beat=0.0)
            )

    def lost(self) -> list[str]:
        """Workers that have been silent for too long."""
        with reading(self._engine) as connection:
            return list(connection.execute(select(worker_t.c.id).where(self._is_silent())).scalars())

    def bury(self, worker: str) -> None:
        """Forget a lost worker, unless it has given a sign of life meanwhile."""
        with writing(self._engine) as connection:
            connection.execute(delete(worker_t).where(worker_t.c.id == worker, self._is_silent()))

    def all(self) -> Sequence[Lease]:
        """Every worker that is alive or was not buried yet, by id."""
        state = case((self._is_silent(), LOST), else_=worker_t.c.state).label("now")
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(worker_t.c.id, state, worker_t.c.slots, worker_t.c.beat).order_by(worker_t.c.id)
            ).all()
        return [Lease(row.id, row.now, row.slots, datetime.fromtimestamp(row.beat, UTC)) for row in rows]

    def slots(self) -> int:
        """Weight that all living workers together may work on at once."""
        total = select(func.coalesce(func.sum(worker_t.c.slots), 0)).where(~self._is_silent())
        with reading(self._engine) as connection:
            return int(connection.execute(total).scalar_one())

    def _is_silent(self) -> ColumnElement[bool]:
        return worker_t.c.beat < self._now - SILENCE
