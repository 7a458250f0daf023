"""One run from its start to its end in this process: the steps of `execute_run`, without a queue or an engine."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from stellaops.core.errors import StellaError
from stellaops.exports import execute_run
from stellaops.exports.errors import RunChanged
from stellaops.exports.events import Event, EventType
from stellaops.exports.plan_run import RunRequest, Tools
from stellaops.exports.plan_run import selected as selected_by
from stellaops.exports.ports import Staging
from stellaops.exports.run import Asked, Priority, Run, RunStatus
from stellaops.exports.step_clock import Progress, nothing

LOCAL = "local:"
"""How the names of those begin who run exports without a queue. No worker may take over what they have begun."""
Begun = Callable[[Run], None]


def silent(run: Run) -> None:
    """Tell nobody that a run has begun."""


def run_export(
    request: RunRequest, tools: Tools, progress: Progress = nothing, *, by: str = "", begun: Begun = silent
) -> Run:
    """Run an export to its end, or until it is held. The record is kept, also of a failure, which is raised.

    Args:
        by: who asks, for the record.
        begun: told of the run when its record stands; where that fails, the run has failed.

    Raises:
        StellaError: the reason of the failure; nothing is published then.
    """
    run = record_of(request, tools.now(), by=by)
    with tools.workspace.stage(run.id) as staging:
        # From here on the run is known to be alive by its staging place.
        now = tools.now()
        started = replace(run, status=RunStatus.RUNNING, attempt=1, worker=local_name(), started_at=now)
        events = [pending(run), execute_run.started(started, now)]
        return _through(tools.runs.add(started, events), staging, tools, progress, begun)


def go_on(run: Run, tools: Tools, progress: Progress = nothing, *, begun: Begun = silent) -> Run:
    """Take an approved run to its end.

    Raises:
        RunState, RunChanged, StellaError: see `execute_run`.
    """
    with tools.workspace.stage(run.id) as staging:
        started = execute_run.start(run.tenant, run.id, local_name(), tools)
        return _through(started, staging, tools, progress, begun)


def record_of(
    request: RunRequest,
    now: datetime,
    *,
    by: str,
    priority: Priority = Priority.NORMAL,
    traceparent: str = "",
) -> Run:
    """The record of a run that is pending; it is not stored.

    Raises:
        InvalidSelector: with everything that is wrong.
    """
    return Run(
        id=request.run_id,
        tenant=request.tenant,
        profile=request.profile.name,
        profile_revision=request.profile.revision,
        kind=request.profile.kind,
        selectors=selected_by(request).canonical(),
        status=RunStatus.PENDING,
        submitted_at=now,
        submitted_by=by,
        replay_of=request.replay_of,
        priority=priority,
        traceparent=traceparent,
        asked=Asked(
            request.sequence,
            request.allow_empty,
            request.policy_snapshot,
            request.base,
            dict(request.selectors),
        ),
    )


def pending(run: Run) -> Event:
    """The event of a run that was submitted."""
    data = {"profile": run.profile, "priority": run.priority.value, "by": run.submitted_by or None}
    return Event(EventType.PENDING, run.submitted_at, data)


def local_name() -> str:
    """Who runs an export in this process: `local:<host>:<process>`."""
    return f"{LOCAL}{socket.gethostname()}:{os.getpid()}"


def is_local(run: Run) -> bool:
    """Whether a run is, or was, worked on without a queue: on this machine or another one."""
    return run.worker is not None and run.worker.startswith(LOCAL)


def _through(run: Run, staging: Staging, tools: Tools, progress: Progress, begun: Begun) -> Run:
    try:
        begun(run)
        if "plan" in run.done:
            run = execute_run.build(run, tools, progress)
        else:
            run, made = execute_run.planned(run, tools, progress)
            run = execute_run.build_by(staging, run, made, tools, progress)
        for step in (execute_run.gate, execute_run.publish, execute_run.distribute):
            run = step(run, tools, progress)
            if run.status is RunStatus.HELD:
                return run
        return execute_run.finish(run, tools)
    except RunChanged:
        raise  # the record says already what became of the run
    except BaseException as error:
        # Where even that cannot be written, the reason stands; the next run marks this one.
        with suppress(StellaError):
            # The record as it is: a step may have written it before it failed.
            execute_run.fail(execute_run.current(run.tenant, run.id, run.attempt, tools), error, tools)
        raise
