"""How often work on a run ended in no orderly way: with its worker, or because its own process died of it."""

from __future__ import annotations

from sqlalchemy import Engine, delete, insert, select, update

from stellaops.adapters.sql.engine import retried, writing
from stellaops.adapters.sql.worker_schema import run_loss


class SqlLosses:
    """Counts of attempts that began and did not end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def begin(self, run_id: str) -> int:
        """An attempt begins; what was counted of those before it."""
        with writing(self._engine) as connection:
            found = connection.execute(select(run_loss.c.losses).where(run_loss.c.run_id == run_id)).scalar()
            if found is None:
                connection.execute(insert(run_loss).values(run_id=run_id, losses=1))
                return 0
            connection.execute(update(run_loss).where(run_loss.c.run_id == run_id).values(losses=found + 1))
            return int(found)

    def blame(self, run_id: str) -> None:
        """The attempt's own process died: that counts twice, since a worker that is lost takes others' runs with it."""
        with writing(self._engine) as connection:
            connection.execute(
                update(run_loss).where(run_loss.c.run_id == run_id).values(losses=run_loss.c.losses + 1)
            )

    def end(self, run_id: str) -> None:
        """The run has ended, or its attempt in an orderly way: nothing of it counts any more."""
        with writing(self._engine) as connection:
            connection.execute(delete(run_loss).where(run_loss.c.run_id == run_id))

    def hand_back(self, run_id: str) -> None:
        """The attempt under way was given up on purpose: it counts as no loss, those before it do."""
        with writing(self._engine) as connection:
            connection.execute(
                update(run_loss).where(run_loss.c.run_id == run_id).values(losses=run_loss.c.losses - 1)
            )
