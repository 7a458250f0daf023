"""What retention keeps in the service store: pins, turns at tenants' bundles, and what passes have done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update

from stellaops.adapters.sql.chores import SqlChores
from stellaops.adapters.sql.engine import dialect_of, reading, retried, writing
from stellaops.adapters.sql.metering import PRUNED, count
from stellaops.adapters.sql.retention_schema import run_pin
from stellaops.adapters.sql.service_schema import run_t
from stellaops.adapters.sql.sources import instant
from stellaops.exports.errors import RetentionBusy
from stellaops.exports.retention.ports import LastPass, Pruned
from stellaops.exports.retention.rules import Pin, PinKind
from stellaops.ingest.import_documents import microseconds

CHORE = "retention"
"""How the nightly pass is called among the chores of workers."""
_WAIT = 600.0
_PAUSE, _LONGEST_PAUSE = 0.01, 0.5


class SqlPins:
    """`exports.retention.ports.Pins` on a service store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def pins(self, tenant: str) -> Sequence[Pin]:
        """See the port."""
        statement = (
            select(run_pin).where(run_pin.c.tenant == tenant).order_by(run_pin.c.run_id, run_pin.c.kind)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(statement).all()
        return [
            Pin(row.tenant, row.run_id, PinKind(row.kind), row.reason, row.set_by, set_at)
            for row in rows
            if (set_at := instant(row.set_at)) is not None
        ]

    @retried
    def put(self, pin: Pin) -> None:
        """See the port."""
        values = {"reason": pin.reason, "set_by": pin.set_by, "set_at": microseconds(pin.set_at)}
        place = {"tenant": pin.tenant, "run_id": pin.run_id, "kind": pin.kind.value}
        known = [run_pin.c[name] == value for name, value in place.items()]
        with writing(self._engine) as connection:
            if not connection.execute(update(run_pin).where(*known).values(values)).rowcount:
                connection.execute(insert(run_pin).values(**place, **values))

    def remove(self, tenant: str, run_id: str, kind: PinKind) -> bool:
        """See the port."""
        own = run_pin.c.tenant == tenant, run_pin.c.run_id == run_id, run_pin.c.kind == kind.value
        with writing(self._engine) as connection:
            return connection.execute(delete(run_pin).where(*own)).rowcount > 0


class SqlBundleTurns:
    """`exports.retention.ports.Turns`: by the kernel for files, by the server for PostgreSQL.

    Args:
        locks: where SQLite's locks lie; beside the store when None.
    """

    def __init__(self, engine: Engine, locks: Path | None = None, *, wait: float = _WAIT) -> None:
        self._engine = engine
        self._locks = locks
        self._wait = wait

    @contextmanager
    def turn(self, tenant: str) -> Iterator[None]:
        """See the port."""
        until, pause = time.monotonic() + self._wait, _PAUSE
        while True:
            with self._held(f"bundles of {tenant}") as held:
                if held:
                    yield
                    return
            if time.monotonic() > until:
                raise RetentionBusy(
                    f"the bundles of tenant {tenant} are being removed since {self._wait:.0f} s"
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def alone(self) -> AbstractContextManager[bool]:
        """See the port."""
        return self._held("retention")

    def _held(self, name: str) -> AbstractContextManager[bool]:
        return dialect_of(self._engine).lock(self._engine, self._locks, name)


class SqlPasses:
    """`exports.retention.ports.Passes` and `Tenants` on a service store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def count(self, pruned: Sequence[Pruned]) -> None:
        """See the port."""
        with writing(self._engine) as connection:
            for each in pruned:
                labels = {"profile": each.profile, "profile_kind": each.kind, "tenant": each.tenant}
                count(connection, PRUNED, labels, each.number)

    def note(self, now: datetime, report: Mapping[str, Any], *, ok: bool) -> None:
        """See the port."""
        SqlChores(self._engine).finished(CHORE, now, ok=ok, report=report)

    def last(self) -> LastPass | None:
        """See the port."""
        found = SqlChores(self._engine).last(CHORE)
        if found is None or found.finished_at is None:
            return None
        return LastPass(found.finished_at, found.succeeded_at, found.report)

    def with_runs(self) -> Sequence[str]:
        """See the port."""
        statement = select(run_t.c.tenant).distinct().order_by(run_t.c.tenant)
        with reading(self._engine) as connection:
            return connection.execute(statement).scalars().all()
