"""Disturbed runs: workers that are killed, stopped and continued, a database that is restarted, and what must hold."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import combinations, pairwise

from stellaops.adapters.engine.dbos_queue import WEIGHTS
from stellaops.authority.tenants import Tenant
from stellaops.bootstrap import new_run_id, now
from stellaops.core.errors import StellaError
from stellaops.exports.events import Event, EventType
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.run import ENDED, Run, RunStatus
from stellaops.exports.run_export import run_export
from tests.support.workers import Service, WorkerProcess, wait_for

LIMITS = {"alpha": 1, "beta": 2, "gamma": 3}
SOURCES = ("aa", "bb", "cc", "dd", "ee", "ff")
TAKEN_OVER_WITHIN = timedelta(seconds=10)
_ENDS = {EventType.SUCCEEDED, EventType.FAILED, EventType.CANCELLED}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done and how badly it is disturbed."""

    runs: int
    workers: int
    disturbances: int
    seed: int
    documents: int = 150
    slots: int = 3
    seconds: float = 300.0


@dataclass
class Report:
    """What was seen."""

    seconds: float = 0.0
    killed: int = 0
    stopped: int = 0
    restarts: int = 0
    attempts: Counter[int] = field(default_factory=Counter)
    takeovers: list[float] = field(default_factory=list)
    most_at_once: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        slowest = f"{max(self.takeovers):.1f} s" if self.takeovers else "-"
        attempts = ", ".join(f"{number}: {count}" for number, count in sorted(self.attempts.items()))
        return (
            f"{sum(self.attempts.values())} runs in {self.seconds:.0f} s; {self.killed} workers killed,"
            f" {self.stopped} stopped and continued, database restarted {self.restarts} times; runs by attempts"
            f" {attempts}; {len(self.takeovers)} takeovers, the slowest {slowest}; most at once {self.most_at_once}"
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run to be made: no two are alike, so that none can share another's archive."""

    tenant: str
    profile: str


class Disturbed:
    """Runs of several tenants on a service whose workers are disturbed."""

    def __init__(self, stella: Service, plan: Plan, restart: Callable[[], None] | None = None) -> None:
        self._stella = stella
        self._plan = plan
        self._restart = restart
        self._chance = random.Random(plan.seed)
        self._workers: list[WorkerProcess] = []
        self._wounds: list[tuple[datetime, str]] = []
        self._seen: dict[str, datetime] = {}
        self._away: list[tuple[datetime, datetime]] = []
        self.report = Report()

    def prepare(self) -> list[tuple[Wanted, tuple[object, ...]]]:
        """Fill the store, make every export once in peace, and remove it again; what each must be."""
        for source in SOURCES:
            self._stella.fill(self._plan.documents, source)
        wanted = self._wanted()
        for tenant, limit in LIMITS.items():
            self._stella.local.tenants.add(Tenant(tenant, max_active_runs=limit))
        return [(each, self._in_peace(each)) for each in wanted]

    def _wanted(self) -> list[Wanted]:
        subsets = [part for size in (1, 2, 3) for part in combinations(SOURCES, size)]
        found = []
        for number in range(self._plan.runs):
            sources, kind = subsets[number % len(subsets)], ("raw", "db")[number // len(subsets) % 2]
            tenant, name = list(LIMITS)[number % len(LIMITS)], f"p{number}"
            self._stella.profile(
                name, tenant, kind="json" if kind == "raw" else "trivy", variant=kind,
                selectors={"sources": list(sources)},
            )  # fmt: skip
            found.append(Wanted(tenant, name))
        return found

    def _in_peace(self, wanted: Wanted) -> tuple[object, ...]:
        local = self._stella.local
        recipe = find_profile(wanted.tenant, wanted.profile, local.profiles)
        run = run_export(RunRequest(new_run_id(), wanted.tenant, recipe, {}), local.export_tools)
        assert run.archive is not None
        local.artefacts.delete(run.archive)
        local.runs.delete(wanted.tenant, run.id)
        return _content(run)

    def execute(self, wanted: Sequence[tuple[Wanted, tuple[object, ...]]]) -> Report:
        """Submit all, disturb until the disturbances are used up, wait for every end, and look at what came of it."""
        for _ in range(self._plan.workers):
            self._workers.append(self._worker())
        assert all(worker.id for worker in self._workers)
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stop,))
        watcher.start()
        began = time.monotonic()
        try:
            runs = [
                self._insist(partial(self._stella.submit, each.profile, each.tenant)) for each, _ in wanted
            ]
            self._disturb(runs)
            wait_for(lambda: self._open(runs) == 0, self._plan.seconds, lambda: self._told(runs))
        finally:
            self.report.seconds = time.monotonic() - began
            stop.set()
            watcher.join()
        self._judge(runs, [content for _, content in wanted])
        return self.report

    def _worker(self) -> WorkerProcess:
        return self._stella.worker(
            "--slots", str(self._plan.slots), wait=False, STELLA_WORKER_GRACE_SECONDS="1"
        )

    def _open(self, runs: Sequence[Run]) -> int:
        self._replace_dead()
        try:
            return sum(self._stella.run(run).status not in ENDED for run in runs)
        except StellaError:
            return -1

    def _replace_dead(self) -> None:
        """What systemd does."""
        for worker in self._workers:
            if "ready " in worker.log:
                self._seen.setdefault(worker.id, now())
        for number, worker in enumerate(self._workers):
            if worker.process.poll() is not None:
                self._workers[number] = self._worker()

    def _disturb(self, runs: Sequence[Run]) -> None:
        done = 0
        while (left := self._open(runs)) != 0 and (done < self._plan.disturbances or self._must_restart()):
            time.sleep(self._chance.uniform(0.1, 1.0))
            if self._must_restart() and 0 <= left <= len(runs) * 2 / 3:
                self._lose_database()
            if done >= self._plan.disturbances:
                continue
            victim = self._victim()
            if victim is None:
                continue
            done += 1
            self._wounds.append((now(), victim.id))
            if self._chance.random() < 0.3:
                self._stop_a_while(victim)
            else:
                victim.send(signal.SIGKILL)
                victim.process.wait(10)
                self.report.killed += 1

    def _must_restart(self) -> bool:
        return self._restart is not None and not self.report.restarts

    def _victim(self) -> WorkerProcess | None:
        """Someone at work; now and then the last one that is left, mostly one that a peer can take over from."""
        ready = [worker for worker in self._workers if "ready " in worker.log]
        hurt = {name for at, name in self._wounds if now() - at < timedelta(seconds=12)}
        settled = [
            worker
            for worker in ready
            if worker.id not in hurt and now() - self._seen.get(worker.id, now()) > timedelta(seconds=4)
        ]
        if len(settled) < 2 and self._chance.random() > 0.15:
            return None
        try:
            at_work = {run.worker for run in self._stella.local.runs.unended([RunStatus.RUNNING])}
        except StellaError:
            return None
        busy = [worker for worker in ready if worker.id in at_work and worker.id not in hurt]
        return self._chance.choice(busy) if busy else None

    def _lose_database(self) -> None:
        assert self._restart is not None
        began = now()
        self._restart()
        # Until everyone had the time to say that they live, nobody takes over from anybody.
        self._away.append((began, now() + timedelta(seconds=8)))
        self.report.restarts += 1

    def _stop_a_while(self, victim: WorkerProcess) -> None:
        """It is taken for dead after 5 seconds, and comes back after 7 to 9."""
        victim.send(signal.SIGSTOP)
        self.report.stopped += 1
        timer = threading.Timer(self._chance.uniform(7, 9), _continue, [victim])
        timer.daemon = True
        timer.start()

    def _watch(self, stop: threading.Event) -> None:
        """Look at limits and slots from the outside, all the time."""
        weights = {"json:raw": WEIGHTS["json:raw"], "trivy:db": WEIGHTS["trivy:db"]}
        while not stop.wait(0.03):
            try:
                running = self._stella.local.runs.unended([RunStatus.RUNNING])
            except StellaError:
                continue
            for tenant, number in Counter(run.tenant for run in running).items():
                highest = max(self.report.most_at_once.get(tenant, 0), number)
                self.report.most_at_once[tenant] = highest
                if number > LIMITS[tenant]:
                    self.report.problems.append(f"{number} runs of {tenant} at once")
            loads: Counter[str] = Counter()
            for run in running:
                loads[run.worker or ""] += weights[run.kind]
            self.report.problems += [
                f"{name} works on weight {load}" for name, load in loads.items() if load > self._plan.slots
            ]

    def _judge(self, runs: Sequence[Run], contents: Sequence[tuple[object, ...]]) -> None:
        for run, content in zip(map(self._stella.run, runs), contents, strict=True):
            events = self._stella.local.runs.events(run.id)
            self.report.attempts[run.attempt] += 1
            self._demand(run.status is RunStatus.SUCCEEDED, f"{run.id} is {run.status}: {run.error}")
            self._demand(_content(run) == content, f"{run.id} has another content than in peace")
            self._demand(
                [event.number for event in events] == list(range(1, len(events) + 1)), f"{run.id}: numbers"
            )
            self._demand(sum(event.type in _ENDS for event in events) == 1, f"{run.id} did not end once")
            self._demand(events[-1].type in _ENDS, f"{run.id} has events after its end")
            if run.archive is not None:
                self._demand(self._stella.local.artefacts.exists(run.archive), f"{run.id}: no archive")
            self._judge_takeovers(run, events)

    def _judge_takeovers(self, run: Run, events: Sequence[Event]) -> None:
        """From the moment in which its worker was killed or stopped to the next attempt."""
        begun = [event for event in events if event.type is EventType.STARTED]
        for one, other in pairwise(begun):
            wounds = [
                at for at, worker in self._wounds if worker == one.data["worker"] and one.at <= at <= other.at
            ]
            if not wounds or any(a <= other.at and wounds[0] <= b for a, b in self._away):
                continue
            took = other.at - wounds[0]
            if not self._had_peer(wounds[0], other.at):
                continue
            self.report.takeovers.append(took.total_seconds())
            self._demand(took <= TAKEN_OVER_WITHIN, f"{run.id} was taken over after {took}")

    def _had_peer(self, wound: datetime, end: datetime) -> bool:
        """Whether some other worker lived all the time, and for a while before."""
        settled = [worker for worker, since in self._seen.items() if since <= wound - timedelta(seconds=4)]
        hurt = {worker for at, worker in self._wounds if wound - timedelta(seconds=60) <= at <= end}
        return any(worker not in hurt for worker in settled)

    def _demand(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.report.problems.append(otherwise)

    def _told(self, runs: Sequence[Run]) -> str:
        lines = [f"{run.id} {run.status} {run.attempt} {run.waiting}" for run in map(self._stella.run, runs)]
        return "\n".join([*lines, self._stella.logs[-8000:]])

    def _insist(self, call: Callable[[], Run]) -> Run:
        while True:
            try:
                return call()
            except StellaError:
                time.sleep(0.2)


def _continue(worker: WorkerProcess) -> None:
    if worker.process.poll() is None:
        worker.send(signal.SIGCONT)


def _content(run: Run) -> tuple[object, ...]:
    """All that identifies what a run made."""
    files = tuple(sorted((artifact.path, artifact.sha256) for artifact in run.artifacts))
    return run.export_id, run.archive_id, run.rerun_hash, files
