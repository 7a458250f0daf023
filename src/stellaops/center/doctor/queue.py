"""The queue: whether what waits will be taken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec

from stellaops.bootstrap import Local
from stellaops.core import timestamps
from stellaops.exports.ports import QueueStatus
from stellaops.ingest.doctor import Finding, Verdict

_RUNNING, _LOST = "running", "lost"


def check_queue(local: Local) -> Finding:
    """The queue and its workers; without the extra `server` there is none."""
    if find_spec("dbos") is None:
        return Finding("queue", Verdict.OK, "none: the extra `server` is not installed")
    found = local.queue
    states = [lease.state for lease in found.leases.all()]
    return judge(found.status(), states, found.paused_since)


def judge(status: QueueStatus, workers: Sequence[str], paused_since: datetime | None) -> Finding:
    """What numbers of the queue come down to.

    Args:
        workers: the state of each.
    """
    waiting, running = sum(status.ready.values()), sum(status.running.values())
    alive, lost = workers.count(_RUNNING), workers.count(_LOST)
    told = f"{waiting} runs wait, {running} run, {alive} workers are alive"
    if waiting and status.paused:
        since = "" if paused_since is None else f" since {timestamps.render(paused_since)}"
        return Finding(
            "queue", Verdict.WARNING, f"{told}; it is paused{since}", "`stella export queue resume`"
        )
    if (waiting or running) and not alive:
        hint = "Start a worker: `stella serve worker`, or see why the service's workers ended."
        return Finding("queue", Verdict.FAILED, told, hint)
    if lost:
        hint = "Others take over what they had; see their logs for why they died, and start them again."
        return Finding("queue", Verdict.WARNING, f"{told}, {lost} lost", hint)
    return Finding("queue", Verdict.OK, told)
