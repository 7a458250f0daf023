"""A worker process: what it consists of, and how it begins and ends."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import NoReturn

from stellaops.adapters.engine.dbos_worker import EngineWorker, Tasks
from stellaops.adapters.sql.errors import StoreConflict
from stellaops.adapters.telemetry import tracing
from stellaops.bootstrap import Local, now
from stellaops.core.errors import StellaError
from stellaops.exports.plan_run import request_of
from stellaops.exports.profile import duration
from stellaops.exports.run import Run
from stellaops.exports.submit_run import Submission, submit_run
from stellaops.worker.child import order_of
from stellaops.worker.children import Children
from stellaops.worker.chores import Chores
from stellaops.worker.execution import Executor
from stellaops.worker.notifying import Notifier
from stellaops.worker.sweep import Sweep

_LOG = logging.getLogger("stellaops.worker")
_SWEEP_SECONDS = 5.0
_SLOTS, _CPUS = 6, 4
"""Slots for so many CPUs."""
_LEAST_SLOTS = 3
"""One full bundle fits."""
EXIT_LOST = 75
"""The exit code of a worker that the others held for dead: start it again."""


def run_worker(
    local: Local,
    *,
    slots: int | None = None,
    stop: threading.Event | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Work on runs until `stop` is set, then hand over what is under way.

    Takes a process of its own: the engine exists once in a process, and what was handed over must not go on in it.
    So the process must end right after with `os._exit`, as `serve` does. A worker that the others hold for dead ends
    its process itself, with `EXIT_LOST`.

    Args:
        slots: weight that it works on at once; by the settings, else by the number of CPUs, where None.
        ready: called with the worker's id when it has begun to take work.

    Raises:
        StellaError: it cannot begin.
    """
    worker = Worker(local, slots or _slots(local))
    worker.start()
    if ready is not None:
        ready(worker.id)
    worker.sweep_until(stop or threading.Event())
    worker.drain()


def serve(local: Local, *, slots: int | None = None, ready: Callable[[str], None] | None = None) -> NoReturn:
    """`run_worker` as the main thread of a process: SIGTERM and SIGINT hand over and end it, within seconds."""
    stop = threading.Event()

    def asked(_number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(1)  # asked twice: what is under way is taken over all the same, a few seconds later
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)
    tracing.configure("stellaops-worker")
    run_worker(local, slots=slots, stop=stop, ready=ready)
    tracing.end()
    os._exit(0)


class Worker:
    """The parts of a worker process."""

    def __init__(self, local: Local, slots: int) -> None:
        self._local = local
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._grace = float(local.settings.number("worker.graceSeconds"))
        self._children = Children()
        self._executor = Executor(
            tools=local.export_tools,
            losses=local.losses,
            children=self._children,
            order=lambda run, traceparent: order_of(local.settings, run, traceparent),
            limit=self._seconds,
            later=local.queue.later,
        )
        tasks = Tasks(self._executor.execute, self._executor.running, self._scheduled, self._lost)
        self._engine = EngineWorker(local.queue, local.service_engine, tasks, name=self.id, slots=slots)
        self._executor.engine = self._engine
        self._chores = Chores(
            local.settings, local.chores, local.staging_rooms, local.data_dir / "exports", now
        )
        self._notifier = Notifier(local, self.id, now)
        self._sweep = Sweep(local.runs, local.queue, local.limits, local.schedules)

    def start(self) -> None:
        """Begin to take work."""
        self._children.prepare()
        self._engine.start()
        self._chores.start()
        self._notifier.start()
        _LOG.info(
            "worker %s takes work, %s slots",
            self.id,
            self._engine.slots.total,
            extra={"event": "worker.started"},
        )

    def sweep_until(self, stop: threading.Event) -> None:
        """Look after what nobody else does, until told to stop."""
        wait = 1.0
        while not stop.wait(wait):
            self._sweep.once(now())
            wait = _SWEEP_SECONDS

    def drain(self) -> None:
        """Take nothing more, let runs end that are about to, and give the others to other workers."""
        _LOG.info("worker %s hands over", self.id, extra={"event": "worker.draining"})
        self._engine.close_gate()
        self._chores.stop()
        self._notifier.stop()
        self._wait(self._grace)
        self._executor.handing_over.set()
        self._wait(2.0)
        self._children.kill_all()
        self._engine.hand_over()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._executor.under_way and time.monotonic() < end:
            time.sleep(0.05)

    def _seconds(self, run: Run) -> float:
        """How long an attempt of a run may take; where its profile is gone, the attempt itself says so."""
        own = None
        with suppress(StellaError):
            own = request_of(run, self._local.profiles).profile.spec.time_limit
        return duration(own or self._local.settings.get("worker.timeLimit") or "2h").total_seconds()

    def _scheduled(self, tenant: str, profile: str, at: datetime) -> None:
        """Submit the run of a schedule; twice is once, since its id comes from the schedule and the instant."""
        mark = hashlib.sha256(f"{tenant}\n{profile}\n{at.isoformat()}".encode()).hexdigest()
        tools = replace(self._local.submit_tools, new_id=lambda: f"run-{at:%Y%m%dt%H%M%S}-{mark[:16]}")
        try:
            run = submit_run(Submission(tenant, profile, by="schedule"), tools)
        except StoreConflict:
            return  # the sweep enqueues it, if that was what did not happen
        except StellaError as error:
            _LOG.warning(
                "the schedule of profile %s of tenant %s submitted no run: %s: %s",
                profile, tenant, error.code, error.what,
                extra={"event": "schedule.refused", "tenant": tenant, "profile": profile, "errorCode": error.code},
            )  # fmt: skip
            return
        _LOG.info(
            "run.submitted %s", run.id, extra={"event": "run.submitted", "runId": run.id, "tenant": tenant}
        )

    def _lost(self) -> NoReturn:
        """The others have taken over: nothing of this process may go on."""
        _LOG.error(
            "worker %s was held for dead and has lost its runs", self.id, extra={"event": "worker.lost"}
        )
        self._children.kill_all()
        os._exit(EXIT_LOST)


def _slots(local: Local) -> int:
    if local.settings.get("worker.slots"):
        return local.settings.number("worker.slots")
    cpus = len(os.sched_getaffinity(0))
    return max(_LEAST_SLOTS, cpus * _SLOTS // _CPUS)
