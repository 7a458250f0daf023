"""One run under the eyes of its worker: it begins, a child process works on it, and it ends or is stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from stellaops.adapters.engine.dbos_worker import AGAIN, OVER, EngineWorker
from stellaops.adapters.telemetry import tracing
from stellaops.adapters.telemetry.run_events import say, say_end
from stellaops.core.errors import DependencyFailed, StellaError
from stellaops.exports import execute_run
from stellaops.exports.errors import RunChanged, RunNotFound, RunState, RunTimeout
from stellaops.exports.plan_run import Tools
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.run_export import is_local
from stellaops.worker.child import delay
from stellaops.worker.children import Child, Children
from stellaops.worker.errors import ChildDied, RunSetAside

_LOG = logging.getLogger("stellaops.worker")
_TICK = 0.2
_LOOK = 0.5
"""Seconds between two looks at the record of a run under way."""
_LAST_SECONDS = 5.0
"""How long a child may still run after the record says that its run has ended."""
_MOST_LOSSES = 6
"""What may be counted: three deaths of child processes, or six losses with whole workers."""

T = TypeVar("T")


class Losses(Protocol):
    """Counts of attempts that began and did not end."""

    def begin(self, run_id: str) -> int: ...  # noqa: D102
    def blame(self, run_id: str) -> None: ...  # noqa: D102
    def end(self, run_id: str) -> None: ...  # noqa: D102
    def hand_back(self, run_id: str) -> None: ...  # noqa: D102


@dataclass
class Executor:
    """Works on runs, one for each call of `execute`, in as many threads as there are.

    Attributes:
        order: the order for a child process that is to work on a begun run, below a `traceparent`.
        limit: seconds that an attempt of a run may take.
        later: enqueues a pending run again, after some seconds.
    """

    tools: Tools
    losses: Losses
    children: Children
    order: Callable[[Run, str], bytes]
    limit: Callable[[Run], float]
    later: Callable[[Run, float], None]
    engine: EngineWorker | None = None
    handing_over: threading.Event = field(default_factory=threading.Event)
    _under_way: set[str] = field(default_factory=set)
    _parked: set[str] = field(default_factory=set)

    @property
    def under_way(self) -> int:
        """How many runs are being worked on, beside those that are parked."""
        return len(self._under_way - self._parked)

    def execute(self, tenant: str, run_id: str) -> str:
        """Work on a run until it is over, waits for something, or is given to another worker."""
        self._under_way.add(run_id)
        try:
            return insist(lambda: self._execute(tenant, run_id))
        finally:
            self._under_way.discard(run_id)

    def running(self, tenant: str, beside: str) -> int:
        """How many other runs of a tenant are running, those without a queue left out."""
        found = self.tools.runs.unended([RunStatus.RUNNING])
        return sum(run.tenant == tenant and run.id != beside and not is_local(run) for run in found)

    def _execute(self, tenant: str, run_id: str) -> str:
        if self.handing_over.is_set():
            self._park(run_id)
        run = self.tools.runs.get(tenant, run_id)
        if run is None or run.status not in (RunStatus.PENDING, RunStatus.RUNNING):
            return OVER
        if self.engine is None:
            raise RuntimeError("no engine")
        with self.engine.permission(tenant, run_id, begun=run.status is RunStatus.RUNNING) as may:
            if not may:
                return AGAIN
            begun = self._begin(run)
        if begun is not None:
            self._traced(begun)
        return OVER

    def _begin(self, run: Run) -> Run | None:
        """Begin an attempt; None where there is nothing to be done any more."""
        lost = self.losses.begin(run.id)
        try:
            if lost >= _MOST_LOSSES:
                self._set_aside(run)
                return None
            name = self.engine.name if self.engine else ""
            begun = execute_run.start(run.tenant, run.id, name, self.tools)
        except (RunState, RunNotFound):
            self.losses.end(run.id)
            return None
        except RunChanged as error:
            self.losses.hand_back(run.id)
            raise _Meanwhile(run.id) from error
        say("run.started", begun)
        return begun

    def _traced(self, run: Run) -> None:
        """Watch an attempt, under a span below what asked for the run."""
        told = {"stella_run_id": run.id, "stella_profile": run.profile, "stella_tenant": run.tenant}
        with tracing.span("run.attempt", kind="consumer", parent=run.traceparent, **told) as span:
            span.set("stella.attempt", run.attempt)
            span.set("stella.worker", run.worker)
            self._watch(run, span.traceparent)
            if tracing.is_on():
                self._describe(run, span)

    def _describe(self, run: Run, span: tracing.Span) -> None:
        found = self.tools.runs.get(run.tenant, run.id)
        if found is not None:
            span.set("stella.status", found.status.value)
            span.set("stella.export_id", found.export_id)
            if found.status is RunStatus.FAILED:
                span.failed(found.error_code or "internal", f"the run has failed: {found.error_code}")

    def _watch(self, run: Run, traceparent: str) -> None:
        child = self.children.take()
        try:
            child.begin(self.order(run, traceparent))
            self.children.prepare()
            reason = self._until_end(run, child)
            if reason is None:
                self._ended(run, child)
            else:
                child.kill()
                reason()
        finally:
            self.children.done(child)

    def _until_end(self, run: Run, child: Child) -> Callable[[], None] | None:
        """Wait for the child's own end (None), or for a reason to end it; what is to be done then."""
        ends, looks, last = time.monotonic() + self.limit(run), 0.0, None
        while not child.wait(_TICK):
            now = time.monotonic()
            if self.handing_over.is_set():
                return lambda: self._hand_back(run)
            if now > ends:
                return lambda: self._out_of_time(run)
            if now < looks:
                continue
            looks = now + _LOOK
            state = self._state(run)
            if state in ("taken", "cancelled") or (last is not None and now > last):
                return lambda: None if state == "taken" else self.losses.end(run.id)
            if state == "ended" and last is None:
                last = now + _LAST_SECONDS
        return None

    def _state(self, run: Run) -> str:
        """What the record says of the attempt: `ours`, `ended` by itself, `cancelled`, or `taken` over by another."""
        try:
            found = self.tools.runs.get(run.tenant, run.id)
        except StellaError:
            return "ours"  # the store is away: the child will say so
        if found is None or found.status is RunStatus.CANCELLED:
            return "cancelled"
        if found.attempt != run.attempt:
            return "taken"
        return "ours" if found.status is RunStatus.RUNNING else "ended"

    def _ended(self, run: Run, child: Child) -> None:
        outcome = child.outcome
        if outcome is None:
            self._died(run, child.last_words)
            return
        self.losses.end(run.id)
        if outcome.outcome == "retry":
            found = self.tools.runs.get(run.tenant, run.id)
            if found is not None and found.status is RunStatus.PENDING:
                self.later(found, outcome.seconds)
        self._tell_end(run)

    def _died(self, run: Run, words: str) -> None:
        """The child is dead and has written no outcome."""
        say("run.child_died", run, logging.WARNING, words)
        found = self._ours(run)
        if found is None:
            return
        insist(lambda: self.losses.blame(run.id))
        # This attempt counts until its run has ended; the sweep has it begun anew where this process dies here.
        error = ChildDied(f"the process that worked on run {run.id} died: {words}")
        seconds = delay(run.attempt)
        pending = self._change(lambda: execute_run.retry(found, error, self.tools, seconds=seconds))
        if pending is not None:
            self.later(pending, seconds)

    def _set_aside(self, run: Run) -> None:
        error = RunSetAside(
            f"run {run.id} was lost in {run.attempt} attempts with the process that worked on it"
        )
        self._change(lambda: execute_run.fail(run, error, self.tools))
        self.losses.end(run.id)
        say("run.set_aside", run, logging.ERROR)

    def _out_of_time(self, run: Run) -> None:
        error = RunTimeout(f"run {run.id} took longer than {self.limit(run):.0f} s")
        found = self._ours(run)
        if found is not None:
            self._change(lambda: execute_run.fail(found, error, self.tools))
        self.losses.end(run.id)
        self._tell_end(run)

    def _hand_back(self, run: Run) -> None:
        insist(lambda: self.losses.hand_back(run.id))
        self._park(run.id)

    def _park(self, run_id: str) -> None:
        """Stay where the run is until the process ends: what returns from here would count as done."""
        self._parked.add(run_id)
        threading.Event().wait()

    def _ours(self, run: Run) -> Run | None:
        """The record, as long as it is in our attempt and running."""
        found = insist(lambda: self.tools.runs.get(run.tenant, run.id))
        if found is None or found.attempt != run.attempt or found.status is not RunStatus.RUNNING:
            return None
        return found

    def _change(self, change: Callable[[], Run]) -> Run | None:
        try:
            return insist(change)
        except RunChanged:
            return None  # it is in other hands, or was cancelled at this moment

    def _tell_end(self, run: Run) -> None:
        found = self.tools.runs.get(run.tenant, run.id)
        if found is not None:
            say_end(found)


class _Meanwhile(DependencyFailed):
    """Someone changed the record between two looks; the next one is right."""


def insist(call: Callable[[], T]) -> T:
    """Call again while the store is away: what is under way must neither be lost nor be begun twice."""
    wait = 0.05
    while True:
        try:
            return call()
        except DependencyFailed as error:
            if wait > 1:
                _LOG.warning("waiting for the store: %s", error.what)
            time.sleep(wait)
            wait = min(2.0, wait * 2)
