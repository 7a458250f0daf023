"""What is done every few seconds beside the runs: nothing that was asked for may be forgotten, whatever died."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stellaops.adapters.engine.dbos_queue import DbosQueue
from stellaops.adapters.engine.leases import RUNNING
from stellaops.adapters.engine.schedules import apply
from stellaops.adapters.sql.schedules import SqlSchedules
from stellaops.core.errors import DependencyFailed, StellaError
from stellaops.exports.errors import RunChanged
from stellaops.exports.ports import Limits, QueueStatus, Runs
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.run_export import is_local

_LOG = logging.getLogger("stellaops.worker")
_SETTLED = timedelta(seconds=3)
"""A run that is younger is on its way yet."""
_CLEANING = timedelta(minutes=10)
_KEPT = timedelta(days=1)
"""How long the engine keeps what it knows of work that has ended; the records of runs stay."""


class Sweep:
    """Runs that no queue knows, reasons for waiting, limits that were changed, schedules, old rows of the engine."""

    def __init__(self, runs: Runs, queue: DbosQueue, limits: Limits, schedules: SqlSchedules) -> None:
        self._runs = runs
        self._queue = queue
        self._limits = limits
        self._schedules = schedules
        self._next_cleaning = datetime.min.replace(tzinfo=UTC)

    def once(self, now: datetime) -> None:
        """Look through everything once; what fails is tried again the next time."""
        for part in (self._of_runs, self._of_schedules, self._of_old_rows):
            try:
                part(now)
            except DependencyFailed as error:
                _LOG.warning("the sweep is interrupted: %s", error.what)
            except StellaError:
                _LOG.exception("the sweep has failed")

    def _of_runs(self, now: datetime) -> None:
        # The engine first: a run that ends in between must not look as if nobody knew it.
        live = self._queue.rows.live_runs()
        unended = [
            run
            for run in self._runs.unended([RunStatus.PENDING, RunStatus.RUNNING])
            if not is_local(run) and now - run.submitted_at > _SETTLED
        ]
        self._queue.keep_limits(sorted({run.tenant for run in unended}))
        for run in unended:
            if run.id not in live:
                self._found(run)
        self._tell_why([run for run in unended if run.status is RunStatus.PENDING])

    def _found(self, seen: Run) -> None:
        """Enqueue a run that nothing in the engine stands for, if it still is as it was seen."""
        run = self._runs.get(seen.tenant, seen.id)
        if run is None or run.version != seen.version or run.id in self._queue.rows.live_runs():
            return
        _LOG.warning("run %s was %s and in no queue: it is enqueued again", run.id, run.status.value)
        self._queue.enqueue(run)

    def _tell_why(self, waiting: Sequence[Run]) -> None:
        if not waiting:
            return
        status, delayed = self._queue.status(), self._queue.rows.delayed_runs()
        room = self._room(status)
        for run in waiting:
            reason = _reason(run, status, self._limits.limits(run.tenant).max_active_runs, room)
            if run.id in delayed or reason == run.waiting:
                continue  # the attempt before it has said why
            try:
                self._runs.change(replace(run, waiting=reason))
            except RunChanged:
                continue  # it does not wait any more

    def _room(self, status: QueueStatus) -> bool:
        slots = sum(worker.slots for worker in self._queue.workers() if worker.state == RUNNING)
        return sum(status.running.values()) < slots

    def _of_schedules(self, _now: datetime) -> None:
        apply(self._queue.client, self._schedules.all())

    def _of_old_rows(self, now: datetime) -> None:
        if now >= self._next_cleaning and not self._queue.forget(now - _KEPT):
            self._next_cleaning = now + _CLEANING


def _reason(run: Run, status: QueueStatus, limit: int, room: bool) -> str:
    if status.paused:
        return "the queue is paused"
    if limit == 0:
        return f"max_active_runs of tenant {run.tenant} is 0: none of its runs is started"
    if _of(status.running, run.tenant) >= limit:
        return f"tenant {run.tenant} may have {limit} runs at once, and has them"
    return "other runs come first" if room else "no worker has room for it"


def _of(numbers: Mapping[str, int], tenant: str) -> int:
    return numbers.get(tenant, 0)
