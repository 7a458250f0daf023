"""Bring a finished run's bundle to its targets again, such as after one of them was down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stellaops.exports.control_runs import ControlTools
from stellaops.exports.errors import RunNotFound, RunState, TargetNotFound
from stellaops.exports.events import Event, EventType
from stellaops.exports.manage_runs import archive_of
from stellaops.exports.profile import DRIVERS
from stellaops.exports.run import Run, RunStatus


def check_target(name: str) -> None:
    """Refuse a target that is not there.

    Raises:
        TargetNotFound: see there.
    """
    if name not in DRIVERS:
        raise TargetNotFound(f"there is no target {name[:80]!r}; there is {', '.join(DRIVERS)}")


def distribute_run(tenant: str, run_id: str, target: str | None, tools: ControlTools) -> Run:
    """Bring a bundle to one target, or to all of them. `http` is the store that downloads come from.

    Raises:
        RunNotFound, TargetNotFound: see there.
        RunState: the run has not succeeded.
        BundleGone: its bundle is not kept.
        RunChanged: someone else has changed the run meanwhile.
    """
    if target is not None:
        check_target(target)
    run = tools.runs.get(tenant, run_id)
    if run is None:
        raise RunNotFound(f"tenant {tenant} has no run {run_id!r}")
    if run.status is not RunStatus.SUCCEEDED:
        raise RunState(f"run {run.id} is {run.status.value}; only what has succeeded is distributed")
    archive_of(run, tools.artefacts)
    told: dict[str, Any] = {"target": "http", "status": "succeeded", "required": False, "error": None}
    others = tuple(each for each in run.targets if each.get("target") != "http")
    changed = replace(run, targets=(told, *others))
    event = Event(EventType.DISTRIBUTED, tools.now(), {"target": "http", "status": "succeeded"})
    return tools.runs.change(changed, [event])
