"""Remove expired bundles from targets, where these can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from stellaops.core import timestamps
from stellaops.core.errors import NotFound, StellaError
from stellaops.exports.distribution.ports import Kept, Targets
from stellaops.exports.errors import RunChanged
from stellaops.exports.ports import Runs
from stellaops.exports.retention.report import RemovedAtTarget, Report
from stellaops.exports.retention.rules import holds_bundle
from stellaops.exports.run import ENDED, Run

_HERE = "http"
"""The store of artefacts is no target to remove from: archives go there by themselves."""
_SHARED = "another run has the same bundle there"
_NAMED = "the target names it its latest"
_NEVER = "the target cannot remove bundles"


def prune_targets(
    tenant: str, runs: Runs, targets: Targets, report: Report, now: Callable[[], datetime]
) -> None:
    """Remove what expired runs have brought to targets; what fails is told, and tried again by the next pass."""
    for run in runs.list(tenant):
        for told in run.targets if run.expired is not None else ():
            if _is_there(told):
                try:
                    found = _remove(run, told, runs, targets, now)
                except NotFound as error:  # it is not among the settings any more
                    found = _outcome(run, told, removed=False, detail=error.what)
                except StellaError as error:
                    found = _outcome(run, told, removed=False, detail=error.what)
                    report.failures.append(f"target {told['target']}, run {run.id}: {error.what}")
                report.targets.append(found)


def _is_there(told: Mapping[str, Any]) -> bool:
    delivered = told.get("status") == "succeeded" and told.get("reference")
    return bool(delivered) and told.get("driver") != _HERE and not (told.get("removedAt") or told.get("kept"))


def _remove(
    run: Run, told: Mapping[str, Any], runs: Runs, targets: Targets, now: Callable[[], datetime]
) -> RemovedAtTarget:
    name = str(told["target"])
    assert run.archive is not None  # noqa: S101 - what has no archive was brought nowhere
    kept = Kept(
        run.tenant, run.profile, run.kind, run.archive, str(told["reference"]), told.get("options") or {}
    )
    target = targets.target(run.tenant, name)
    with targets.turn(name, run.tenant) as turn:
        if _is_shared(run, runs):
            return _outcome(run, told, removed=False, detail=_SHARED)
        if target.newest(kept) == kept.reference:
            return _outcome(run, told, removed=False, detail=_NAMED)
        turn.demand()
        gone = target.remove(kept)
    _note(run, name, {"removedAt": timestamps.render(now())} if gone else {"kept": _NEVER}, runs)
    return _outcome(run, told, removed=gone, detail="" if gone else _NEVER)


def _is_shared(run: Run, runs: Runs) -> bool:
    """Whether another run has the bundle, or is about to bring it there: who does so has the turn."""
    return any(
        other.archive == run.archive and (holds_bundle(other) or other.status not in ENDED)
        for other in runs.list(run.tenant)
    )


def _note(run: Run, name: str, more: Mapping[str, Any], runs: Runs) -> None:
    now = runs.get(run.tenant, run.id)
    if now is not None:
        targets = tuple({**told, **more} if told.get("target") == name else told for told in now.targets)
        with suppress(RunChanged):  # the next pass finds it gone there, and notes it
            runs.change(replace(now, targets=targets))


def _outcome(run: Run, told: Mapping[str, Any], *, removed: bool, detail: str) -> RemovedAtTarget:
    return RemovedAtTarget(run.tenant, run.id, str(told["target"]), str(told["reference"]), removed, detail)
