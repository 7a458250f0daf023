"""Turns at targets: one at a time for each target and tenant, over all processes that share the store.

A turn is a lease. Its holder gives signs of life by the database's clock; who is silent for too long has lost it, and
finds out before it moves anything: `Held.demand` asks the store.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from sqlalchemy import Engine, delete, insert, literal_column, select, update
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql.engine import writing
from stellaops.adapters.sql.errors import StoreConflict
from stellaops.adapters.sql.target_schema import target_turn
from stellaops.core.errors import StellaError
from stellaops.exports.errors import DistributionFailed

BEAT = 3.0
"""Seconds between two signs of life."""
SILENCE = 15.0
"""Seconds without one after which others may take the turn."""
PATIENCE = 1800.0
"""Seconds that a turn is waited for."""
_LOOK = 0.25


class SqlTurns:
    """Gives turns.

    Args:
        patience: seconds that a turn is waited for.
        silence: seconds without a sign of life after which a turn is lost.
    """

    def __init__(self, engine: Engine, *, patience: float = PATIENCE, silence: float = SILENCE) -> None:
        self._engine = engine
        self._patience, self._silence = patience, silence
        clocks = {
            "postgresql": "extract(epoch from clock_timestamp())",
            "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
        }
        self._now: ColumnElement[float] = literal_column(clocks[engine.dialect.name])

    @contextmanager
    def turn(self, target: str, tenant: str) -> Iterator[Held]:
        """Hold the turn at a target; waits for it.

        Raises:
            DistributionFailed: others had it all the time.
        """
        holder = uuid4().hex
        self._wait(target, tenant, holder)
        ended = threading.Event()
        beats = threading.Thread(
            target=self._live, args=(target, tenant, holder, ended), name=f"turn-{target}", daemon=True
        )
        beats.start()
        try:
            yield Held(lambda: self._beat(target, tenant, holder), target)
        finally:
            ended.set()
            beats.join()
            # Where the store is away the turn ends by silence.
            with suppress(StellaError):
                self._give_back(target, tenant, holder)

    def _wait(self, target: str, tenant: str, holder: str) -> None:
        until, pause = time.monotonic() + self._patience, _LOOK
        while not self._take(target, tenant, holder):
            if time.monotonic() > until:
                raise DistributionFailed(
                    f"target {target} was busy with other runs for {self._patience:.0f} s"
                )
            time.sleep(pause)
            pause = min(2.0, pause * 1.5)

    def _take(self, target: str, tenant: str, holder: str) -> bool:
        own = target_turn.c.target == target, target_turn.c.tenant == tenant
        silent = target_turn.c.beat < self._now - self._silence
        values = {"holder": holder, "beat": self._now}
        with writing(self._engine) as connection:
            if connection.execute(update(target_turn).where(*own, silent).values(values)).rowcount:
                return True
            if connection.execute(select(target_turn.c.holder).where(*own)).first() is not None:
                return False
        # Its own transaction: where two insert at once, the loser's has failed as a whole.
        with suppress(StoreConflict), writing(self._engine) as connection:
            connection.execute(insert(target_turn).values(target=target, tenant=tenant, **values))
            return True
        return False

    def _live(self, target: str, tenant: str, holder: str, ended: threading.Event) -> None:
        while not ended.wait(min(BEAT, self._silence / 4)):
            with suppress(StellaError):  # a store that is away for a moment: the next beat tells
                if not self._beat(target, tenant, holder):
                    return

    def _beat(self, target: str, tenant: str, holder: str) -> bool:
        own = (
            target_turn.c.target == target,
            target_turn.c.tenant == tenant,
            target_turn.c.holder == holder,
        )
        with writing(self._engine) as connection:
            return connection.execute(update(target_turn).where(*own).values(beat=self._now)).rowcount == 1

    def _give_back(self, target: str, tenant: str, holder: str) -> None:
        with writing(self._engine) as connection:
            connection.execute(
                delete(target_turn).where(
                    target_turn.c.target == target,
                    target_turn.c.tenant == tenant,
                    target_turn.c.holder == holder,
                )
            )


class Held:
    """A turn that is held. `exports.distribution.ports.Turn`."""

    def __init__(self, beat: Callable[[], bool], target: str) -> None:
        self._beat, self._target = beat, target

    def demand(self) -> None:
        """See the port."""
        if not self._beat():
            raise DistributionFailed(
                f"the turn at target {self._target} was lost: this process gave no sign of life for too long"
            )
