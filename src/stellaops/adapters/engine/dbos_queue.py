"""The queue for those who submit: nothing is executed here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from dbos import DBOSClient, EnqueueOptions
from sqlalchemy import Engine, delete, func, select

from stellaops.adapters.engine import opening
from stellaops.adapters.engine.leases import Leases
from stellaops.adapters.engine.rows import CLOSED, LIVE, EngineRows, queue_of
from stellaops.adapters.sql.address import Address
from stellaops.adapters.sql.engine import reading, translated, writing
from stellaops.adapters.sql.errors import StoreConflict
from stellaops.adapters.sql.service_schema import run_t
from stellaops.adapters.sql.worker_schema import queue_pause
from stellaops.exports.ports import Limits, QueueStatus, Worker
from stellaops.exports.run import Priority, Run, RunStatus

PRIORITIES: Mapping[Priority, int] = {
    Priority.CATCH_UP: 1,
    Priority.INTERACTIVE: 10,
    Priority.NORMAL: 100,
    Priority.BULK: 1000,
}
"""The lowest is taken first."""

WEIGHTS: Mapping[str, int] = {
    "json:policy": 2,
    "json:raw": 2,
    "mirror:delta": 1,
    "mirror:full": 3,
    "trivy:db": 3,
    "trivy:java-db": 2,
}
"""How many of a worker's slots a run of a kind takes."""
HEAVIEST = 3

WIDE = 1000
"""The engine's own bound of work in one process, out of which ours is made; more than any machine has slots."""
_POLL = 0.2
_MOST_ROUNDS = 100
"""Rounds of one attempt; more than one is made only where the engine lost what it knew."""


class DbosQueue:
    """`exports.ports.Queue` on DBOS.

    An enqueued run is a workflow in its tenant's part of the queue for the tenant's limit. It holds its place there
    until it has ended, and has its work done through one more queue, which all tenants share.
    """

    def __init__(self, address: Address, service: Engine, limits: Limits) -> None:
        self._address = address
        self._service = service
        self._limits = limits
        self.engine = opening.open_tables(address)
        self.rows = EngineRows(self.engine)
        self.leases = Leases(service)
        self._client: DBOSClient = opening.client(self.engine)
        self._known: set[str] = set()

    def enqueue(self, run: Run) -> None:
        """See the port."""
        self.later(run, 0)

    def later(self, run: Run, seconds: float) -> None:
        """The same for a run that is to wait some seconds first."""
        with self._translated():
            queue = self._queue_for(self._limits.limits(run.tenant).max_active_runs)
            name = self._free_name(run)
            if name is None:
                return
            options: EnqueueOptions = {
                "workflow_name": "run",
                "queue_name": queue,
                "queue_partition_key": run.tenant,
                "workflow_id": name,
                "priority": PRIORITIES[run.priority],
            }
            if seconds > 0:
                options["delay_seconds"] = seconds
            self._client.enqueue(
                options, run.tenant, run.id, WEIGHTS.get(run.kind, HEAVIEST), options["priority"]
            )

    def _free_name(self, run: Run) -> str | None:
        """The id of the next round; None where this attempt's is waiting or under way."""
        first = f"{run.id}:{run.attempt}"
        names = [first, *(f"{first}.{again}" for again in range(1, _MOST_ROUNDS))]
        known = self.rows.states(names)
        if any(status in LIVE for status in known.values()):
            return None
        return next((name for name in names if name not in known), None)

    def cancel(self, run: Run) -> None:
        """See the port: what works on it sees that by the record."""
        with self._translated():
            live = self.rows.live(run.id)
            if live:
                self._client.cancel_workflows(live)

    def limit(self, tenant: str, max_active_runs: int) -> None:
        """See the port."""
        with self._translated():
            self.rows.move(tenant, self._queue_for(max_active_runs))

    def pause(self) -> None:
        """See the port."""
        try:
            with writing(self._service) as connection:
                connection.execute(queue_pause.insert().values(id=1, since=int(time.time() * 1_000_000)))
        except StoreConflict:
            return  # it is paused already

    def resume(self) -> None:
        """See the port."""
        with writing(self._service) as connection:
            connection.execute(delete(queue_pause))

    @property
    def paused_since(self) -> datetime | None:
        """When the queue was paused; None while it is not."""
        with reading(self._service) as connection:
            since = connection.execute(select(queue_pause.c.since)).scalar()
        return None if since is None else datetime.fromtimestamp(since / 1_000_000, UTC)

    def status(self) -> QueueStatus:
        """See the port."""
        statement = (
            select(run_t.c.status, run_t.c.tenant, func.count())
            .where(run_t.c.status.in_([RunStatus.PENDING.value, RunStatus.RUNNING.value]))
            .group_by(run_t.c.status, run_t.c.tenant)
        )
        with reading(self._service) as connection:
            paused = connection.execute(select(queue_pause.c.id)).first() is not None
            rows = connection.execute(statement).all()
        counts: dict[str, dict[str, int]] = {RunStatus.PENDING: {}, RunStatus.RUNNING: {}}
        for status, tenant, number in rows:
            counts[status][tenant] = number
        return QueueStatus(paused, counts[RunStatus.PENDING], counts[RunStatus.RUNNING])

    def workers(self) -> Sequence[Worker]:
        """See the port."""
        found = self.leases.all()
        with self._translated():
            runs = self.rows.work_of([lease.id for lease in found])
        return [
            Worker(lease.id, lease.state, lease.slots, lease.seen_at, runs.get(lease.id, ()))
            for lease in found
        ]

    def keep_limits(self, tenants: Sequence[str]) -> None:
        """Bring the limits of some tenants to what is set, where something was changed past `limit`."""
        with self._translated():
            found = self.rows.waiting_in(tenants)
        wanted = {tenant: self._limits.limits(tenant).max_active_runs for tenant, _ in found}
        for tenant, queue in found:
            if queue != queue_of(wanted[tenant]):
                self.limit(tenant, wanted[tenant])

    def limit_of(self, tenant: str) -> int:
        """How many runs of a tenant may be under way."""
        return self._limits.limits(tenant).max_active_runs

    def forget(self, before: datetime, most: int = 500) -> int:
        """Remove what the engine still knows of work that ended before an instant."""
        with self._translated():
            self.rows.forget_queues_of_earlier_releases()
            names = self.rows.ended_before(int(before.timestamp() * 1000), most)
            if names:
                self._client.delete_workflows(names)
            return len(names)

    @property
    def client(self) -> DBOSClient:
        """The engine's own client."""
        return self._client

    def close(self) -> None:
        """End all connections."""
        self._client.destroy()
        self.engine.dispose()

    def _queue_for(self, limit: int) -> str:
        """The queue for a limit, made where it is absent."""
        name = queue_of(limit)
        if name not in self._known and name != CLOSED:
            self._client.register_queue(
                name,
                worker_concurrency=WIDE,
                partition_concurrency=limit,
                polling_interval_sec=_POLL,
                on_conflict="always_update",
            )
            self._known.add(name)
        return name

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._address)
