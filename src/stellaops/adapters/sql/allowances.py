"""Allowances that the processes of a service share, in the service store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection, Engine, delete, insert, select, update

from stellaops.adapters.sql.allowance_schema import allowance_t
from stellaops.adapters.sql.engine import retried, writing
from stellaops.core.allowances import Allowance, Lent, lent

_SWEEP = 60.0  # seconds between two removals of what is whole again
_SECOND = 1_000_000


class SqlAllowances:
    """`core.allowances.Leases` of one kind of asks, by the name of the kind. Safe for threads and processes.

    Args:
        now: seconds since 1970. Machines' clocks may differ by a few seconds: whoever is behind gets less.
    """

    def __init__(self, engine: Engine, kind: str, now: Callable[[], float] = time.time) -> None:
        self._engine, self._kind, self._now = engine, kind, now
        self._sweep_at = now() + _SWEEP
        self._lock = threading.Lock()

    @retried
    def lend(self, wanted: Mapping[str, int], allowance: Allowance) -> Mapping[str, Lent]:
        """See `Leases`; one transaction, which locks rows in the order of their names."""
        names = {f"{self._kind} {name}": name for name in sorted(wanted)}
        with writing(self._engine, durable=False) as connection:
            known, now = _known(connection, sorted(names)), self._now()
            found = {}
            for key, name in names.items():
                before = known.get(key)
                start = now if before is None else before / _SECOND
                found[name], whole_at = lent(start, now, wanted[name], allowance)
                # Also where none was lent: what a wrong clock has written must not close the caller out until then.
                if whole_at != start:
                    _keep(connection, key, int(whole_at * _SECOND), new=before is None)
            if self._is_due(now):
                ended = allowance_t.c.whole_at < int((now - _SWEEP) * _SECOND)
                connection.execute(delete(allowance_t).where(ended))
            return found

    def _is_due(self, now: float) -> bool:
        with self._lock:
            due = now >= self._sweep_at
            if due:
                self._sweep_at = now + _SWEEP
            return due


def _known(connection: Connection, names: Sequence[str]) -> Mapping[str, int]:
    """Rows of callers, locked until the transaction ends, where databases lock rows."""
    table = allowance_t.c
    asked = select(table.name, table.whole_at).where(table.name.in_(names)).order_by(table.name)
    return {row.name: int(row.whole_at) for row in connection.execute(asked.with_for_update())}


def _keep(connection: Connection, name: str, whole_at: int, *, new: bool) -> None:
    """Of two that insert at once one has a conflict, and begins again."""
    if new:
        connection.execute(insert(allowance_t).values(name=name, whole_at=whole_at))
    else:
        connection.execute(update(allowance_t).where(allowance_t.c.name == name).values(whole_at=whole_at))
