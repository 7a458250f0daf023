"""Remove bundles from targets, where these can: expired ones, and those of runs that are deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
NAMED = "the target names it its latest"
_NEVER = "the target cannot remove bundles"


def prune_targets(
    tenant: str, runs: Runs, targets: Targets, report: Report, now: Callable[[], datetime]
) -> None:
    """Remove what expired runs have brought to targets; what fails is told, and tried again by the next pass."""
    for run in runs.list(tenant):
        for told in copies(run) if run.expired is not None else ():
            try:
                found = remove_copy(run, told, runs, targets, now)
            except NotFound as error:  # it is not among the settings any more
                found = _outcome(run, told, removed=False, detail=error.what)
            except StellaError as error:
                found = _outcome(run, told, removed=False, detail=error.what)
                report.failures.append(f"target {told['target']}, run {run.id}: {error.what}")
            report.targets.append(found)


def foretell_targets(runs: Sequence[Run], targets: Targets, report: Report) -> None:
    """Tell what `prune_targets` would remove, as far as records and settings say; targets are not asked.

    Args:
        runs: all of a tenant, as the pass would leave their records.
    """
    for run in runs:
        for told in copies(run) if run.expired is not None else ():
            detail = _SHARED if is_shared(run, runs) else ""
            try:
                targets.target(run.tenant, str(told["target"]))
            except StellaError as error:
                detail = error.what
            report.targets.append(_outcome(run, told, removed=not detail, detail=detail))


def copies(run: Run) -> Sequence[Mapping[str, Any]]:
    """What a run's record says of each target that has its bundle, and may remove it."""
    return [told for told in run.targets if _is_there(told)]


def _is_there(told: Mapping[str, Any]) -> bool:
    # A later delivery that failed leaves what an earlier one brought, and its reference.
    return (
        bool(told.get("reference"))
        and told.get("driver") != _HERE
        and not (told.get("removedAt") or told.get("kept"))
    )


def remove_copy(
    run: Run, told: Mapping[str, Any], runs: Runs, targets: Targets, now: Callable[[], datetime]
) -> RemovedAtTarget:
    """Remove one of a run's `copies`, unless another run has it there too, or the target names it its latest.

    Raises:
        NotFound: the target is not among the settings.
        StellaError: it could not be reached, or refuses.
    """
    name = str(told["target"])
    assert run.archive is not None  # noqa: S101 - what has no archive was brought nowhere
    kept = Kept(
        run.tenant, run.profile, run.kind, run.archive, str(told["reference"]), told.get("options") or {}
    )
    target = targets.target(run.tenant, name)
    with targets.turn(name, run.tenant) as turn:
        if is_shared(run, runs.list(run.tenant)):
            return _outcome(run, told, removed=False, detail=_SHARED)
        if target.newest(kept) == kept.reference:
            return _outcome(run, told, removed=False, detail=NAMED)
        turn.demand()
        gone = target.remove(kept)
    _note(run, name, {"removedAt": timestamps.render(now())} if gone else {"kept": _NEVER}, runs)
    return _outcome(run, told, removed=gone, detail="" if gone else _NEVER)


def is_shared(run: Run, runs: Iterable[Run]) -> bool:
    """Whether another run has the bundle, or is about to bring it there: who does so has the turn."""
    return any(
        other.archive == run.archive
        and other.id != run.id
        and (holds_bundle(other) or other.status not in ENDED)
        for other in runs
    )


def _note(run: Run, name: str, more: Mapping[str, Any], runs: Runs) -> None:
    now = runs.get(run.tenant, run.id)
    if now is not None:
        targets = tuple({**told, **more} if told.get("target") == name else told for told in now.targets)
        with suppress(RunChanged):  # the next pass finds it gone there, and notes it
            runs.change(replace(now, targets=targets))


def _outcome(run: Run, told: Mapping[str, Any], *, removed: bool, detail: str) -> RemovedAtTarget:
    return RemovedAtTarget(run.tenant, run.id, str(told["target"]), str(told["reference"]), removed, detail)
