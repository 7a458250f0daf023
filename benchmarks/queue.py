"""How long a submitted run waits for its start, beside the engine alone, in the same minutes.

    python -m benchmarks.queue [--rate 20] [--seconds 20] [--tenants 4] [--workers 2] [--url URL] [--runs 1]
        [--format json]

Ours: a record with its event, the tenant's queue, the shared queue, a lock of the tenant, the record of the start; work
ends at once, so that nothing else is measured. The peer: one bare queue of the engine, nothing stored beside its own
rows, polled as often. Both run at the same rate, one after the other, each with as many worker processes. Without a
URL of an empty PostgreSQL database the stores are SQLite files.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dbos import DBOS
from sqlalchemy import text

from benchmarks import machine
from benchmarks.stores import open_store
from stellaops.adapters.engine import opening
from stellaops.adapters.engine.dbos_worker import OVER, EngineWorker, Tasks
from stellaops.authority.tenants import Tenant
from stellaops.bootstrap import Local
from stellaops.exports import execute_run
from stellaops.exports.run import RunStatus
from stellaops.exports.submit_run import Submission, submit_run

_PEER_QUEUE = "bare"
_GOAL = 0.5


@dataclass
class Waits:
    """Seconds between a submission and its start."""

    seconds: list[float] = field(default_factory=list)

    def wire(self) -> dict[str, float]:
        """The figures."""
        ordered = sorted(self.seconds)
        return {
            "count": len(ordered),
            "median": round(ordered[len(ordered) // 2], 3),
            "p95": round(ordered[int(len(ordered) * 0.95)], 3),
            "max": round(ordered[-1], 3),
        }


def work_ours(directory: Path, url: str | None, slots: int, ready: Any, stop: Any) -> None:
    """A worker process whose runs begin and end at once."""
    local = open_store(directory, url)
    tools = local.export_tools

    def execute(tenant: str, run_id: str) -> str:
        with engine.permission(tenant, run_id, begun=False):
            run = execute_run.start(tenant, run_id, engine.name, tools)
        execute_run.finish(run, tools)
        return OVER

    def running(tenant: str, beside: str) -> int:
        return local.runs.count(tenant, RunStatus.RUNNING)

    tasks = Tasks(execute, running, lambda *_: None, lambda: os._exit(75))
    engine = EngineWorker(local.queue, local.service_engine, tasks, name=f"bench-{os.getpid()}", slots=slots)
    engine.start()
    ready.release()
    stop.wait()
    os._exit(0)


def work_bare(directory: Path, url: str | None, slots: int, ready: Any, stop: Any) -> None:
    """A worker process of the engine alone; it notes when each workflow starts."""
    local = open_store(directory, url)

    @DBOS.workflow(name="bare")
    def bare(number: int) -> float:
        return time.time()

    DBOS(config=opening.configuration(local.queue.engine, f"bare-{os.getpid()}"))
    opening.quieten()
    DBOS.launch()
    DBOS.register_queue(_PEER_QUEUE, worker_concurrency=slots, polling_interval_sec=0.1)
    ready.release()
    stop.wait()
    os._exit(0)


def measure_ours(local: Local, rate: float, seconds: float, tenants: Sequence[str]) -> Waits:
    """Submit at a steady rate through the use case, and read the records of the starts."""
    tools = local.submit_tools
    ids: list[tuple[str, str]] = []

    def submit(number: int) -> None:
        tenant = tenants[number % len(tenants)]
        ids.append((tenant, submit_run(Submission(tenant, "json:raw"), tools).id))

    _at_rate(submit, rate, seconds)
    waits = Waits()
    for tenant, run_id in ids:
        run = _until(partial(_ended, local, tenant, run_id))
        waits.seconds.append((run.started_at - run.submitted_at).total_seconds())
    return waits


def measure_bare(local: Local, rate: float, seconds: float) -> Waits:
    """The same through the engine's client alone."""
    client = local.queue.client
    submitted: list[tuple[float, Any]] = []

    def submit(number: int) -> None:
        began = time.time()
        handle: Any = client.enqueue(
            {"workflow_name": "bare", "queue_name": _PEER_QUEUE, "workflow_id": f"bare-{number}"}, number
        )
        submitted.append((began, handle))

    _at_rate(submit, rate, seconds)
    return Waits([handle.get_result() - began for began, handle in submitted])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--tenants", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=6)
    parser.add_argument("--url")
    parser.add_argument("--runs", type=int, default=1, help="the waits of all of them count together")
    parser.add_argument("--directory", type=Path, help="where the stores are made")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as name:
        found = measure(Path(name), given)
    if given.format == "json":
        print(json.dumps(found))
        return
    print(table(found))


def table(found: dict[str, Any]) -> str:
    """The figures as people read them."""
    rows = [
        machine.line(found["machine"]),
        (
            f"{found['rate']:g} submissions/s for {found['seconds']:g} s, {found['workers']} workers,"
            f" {found['database']}"
        ),
    ]
    for what in ("ours", "bare"):
        told = found[what]
        rows.append(
            f"  {what:5} start after: median {told['median']} s, p95 {told['p95']} s, max {told['max']} s"
        )
    rows.append(f"  goal: p95 below {_GOAL} s: {'met' if found['ours']['p95'] < _GOAL else 'MISSED'}")
    return "\n".join(rows)


def measure(directory: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Both, one after the other."""
    local = open_store(directory, given.url)
    tenants = [f"tenant{number}" for number in range(given.tenants)]
    for tenant in tenants:
        local.tenants.add(Tenant(tenant, max_active_runs=20, max_queued_runs=10_000))
    bare, ours = Waits(), Waits()
    for _ in range(given.runs):
        with _workers(work_bare, directory, given):
            bare.seconds += measure_bare(local, given.rate, given.seconds).seconds
        with local.queue.engine.begin() as connection:
            connection.execute(text("DELETE FROM queues WHERE name = :name"), {"name": _PEER_QUEUE})
        with _workers(work_ours, directory, given):
            ours.seconds += measure_ours(local, given.rate, given.seconds, tenants).seconds
    return {
        "machine": machine.describe(),
        "rate": given.rate,
        "seconds": given.seconds,
        "workers": given.workers,
        "database": local.service_engine.dialect.name,
        "bare": bare.wire(),
        "ours": ours.wire(),
    }


class _workers:  # noqa: N801 - reads as a function
    def __init__(self, target: Callable[..., None], directory: Path, given: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop, self._ready = context.Event(), context.Semaphore(0)
        arguments = (directory, given.url, given.slots, self._ready, self._stop)
        self._processes = [context.Process(target=target, args=arguments) for _ in range(given.workers)]

    def __enter__(self) -> None:
        for process in self._processes:
            process.start()
        for _ in self._processes:
            self._ready.acquire()
        time.sleep(2)  # queues are looked for once a second

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for process in self._processes:
            process.join()


def _at_rate(submit: Callable[[int], None], rate: float, seconds: float) -> None:
    """Call at a steady rate, each call in a thread of its own so that a slow one delays no other."""
    began, threads = time.monotonic(), []
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        thread = threading.Thread(target=submit, args=(number,))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()


def _ended(local: Local, tenant: str, run_id: str) -> Any:
    run = local.runs.get(tenant, run_id)
    return run if run is not None and run.finished_at is not None else None


def _until(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + 60
    while (found := look()) is None:
        if time.monotonic() > end:
            raise SystemExit("a run did not end within 60 s")
        time.sleep(0.02)
    return found


if __name__ == "__main__":
    main()
