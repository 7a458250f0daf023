"""Bring a published bundle to its targets again, such as after one of them was down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from stellaops.exports.control_runs import changed_run
from stellaops.exports.distribution import deliver
from stellaops.exports.distribution.deliver import Outcome
from stellaops.exports.errors import (
    BundleGone,
    RunNotFound,
    RunState,
    TargetNotFound,
    VerifyFailed,
)
from stellaops.exports.events import Event, EventType
from stellaops.exports.execute_run import said_fresh
from stellaops.exports.manage_runs import archive_of
from stellaops.exports.plan_run import Tools, recipe_at_present
from stellaops.exports.profile import Destination, destinations
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.step_clock import Progress, nothing
from stellaops.kit.verify import verify_bundle


def distribute_run(
    tenant: str, run_id: str, target: str | None, tools: Tools, progress: Progress = nothing
) -> Run:
    """Bring a bundle to one target, or to all that the profile names in its newest revision.

    What a target has is not sent again. A run that failed because of a target that its profile requires succeeds when
    no required target lacks the bundle any more.

    Raises:
        RunNotFound, TargetNotFound: see there.
        RunState: the run has published nothing.
        BundleGone: its bundle is not kept.
        VerifyFailed: the bundle does not verify any more; nothing is sent.
        RunChanged: someone else changes the run all the time.
    """
    run = tools.runs.get(tenant, run_id)
    if run is None:
        raise RunNotFound(f"tenant {tenant} has no run {run_id!r}")
    if run.status is RunStatus.EXPIRED:
        raise BundleGone(f"run {run.id} is {run.status.value}: its bundle is not kept")
    if not run.is_published:
        raise RunState(f"run {run.id} is {run.status.value}; only what was published is distributed")
    recipe = recipe_at_present(run, tools.profiles).spec
    profile = destinations(recipe)
    asked = profile if target is None else [_one(run, target, profile, tools)]
    archive_of(run, tools.artefacts)

    judge, key = partial(_demand_sound, run, tools), recipe.signing.key_ref
    for outcome in deliver.bring(run, asked, tools.delivery, lambda what, _: progress(what), judge, key=key):
        run = _noted(run, outcome, profile, tools)
    return _concluded(run, profile, tools)


def _one(run: Run, name: str, profile: Sequence[Destination], tools: Tools) -> Destination:
    """A target by its name: as the profile speaks of it, as the run's record does, or as the tenant may use it."""
    named = next((each for each in profile if each.name == name), None)
    if named is not None:
        return named
    if name not in tools.delivery.targets.names(run.tenant):
        there = ", ".join(tools.delivery.targets.names(run.tenant))
        raise TargetNotFound(f"there is no target {name[:80]!r} for tenant {run.tenant}; there is {there}")
    kept: Mapping[str, Any] = next((each for each in run.targets if each.get("target") == name), {})
    driver = tools.delivery.targets.target(run.tenant, name).driver
    return Destination(name, driver, options=kept.get("options") or {})


def _demand_sound(run: Run, tools: Tools, root: Path) -> None:
    """Refuse to send what does not verify: a bundle that was kept for long may be damaged, or its key revoked."""
    trusted, revoked = tools.keys.trusted(run.tenant)
    report = verify_bundle(root, trusted, revoked=revoked)
    failed = [
        f"{check.id} {check.name}: {check.detail}" for check in report.checks if check.status == "failed"
    ]
    if report.verdict != "ok":
        raise VerifyFailed(f"the bundle of run {run.id} does not verify: {failed[0]}", details=failed)


def _noted(run: Run, outcome: Outcome, profile: Sequence[Destination], tools: Tools) -> Run:
    def change(found: Run) -> tuple[Run, Event]:
        made = deliver.noted(found, outcome)
        return replace(made, degraded=deliver.unreached(made, profile)[1]), outcome.event()

    return changed_run(run.tenant, run.id, change, tools.runs)


def _concluded(run: Run, profile: Sequence[Destination], tools: Tools) -> Run:
    """The run with what follows from its targets: one that failed because of them may have succeeded."""
    named = {each.name for each in profile}

    def change(found: Run) -> tuple[Run, Event] | None:
        failed, _ = deliver.unreached(found, profile)
        if failed or found.status is not RunStatus.FAILED or not found.is_published:
            return None
        now = tools.now()
        done = (*(step for step in found.done if step != "distribute"), "distribute")
        # What the profile does not name any more, and never had the bundle, is not waited for.
        targets = tuple(each for each in found.targets if each["target"] in named or each.get("reference"))
        ended = replace(
            found,
            status=RunStatus.SUCCEEDED,
            error_code=None,
            error=None,
            finished_at=now,
            done=done,
            targets=targets,
        )
        data = {
            "exportId": ended.export_id,
            "degraded": ended.degraded,
            "sharedFrom": ended.shared_from,
            "late": True,
        }
        return ended, Event(EventType.SUCCEEDED, now, data)

    ended = changed_run(run.tenant, run.id, change, tools.runs)
    return said_fresh(ended, tools) if ended.status is not run.status else ended
