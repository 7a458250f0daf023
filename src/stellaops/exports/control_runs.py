"""Change what becomes of runs: cancel, approve, replay, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from msgspec import structs

from stellaops.core.errors import NotFound, StellaError
from stellaops.exports.distribution.ports import Targets
from stellaops.exports.errors import ProfileNotFound, RunChanged, RunKept, RunNotFound, RunState
from stellaops.exports.events import Event, EventType
from stellaops.exports.manage_profiles import find_profile, profile_history
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.ports import ArtefactStore, Profiles, Queue, Runs
from stellaops.exports.profile import Profile
from stellaops.exports.retention.ports import Pins, Turns
from stellaops.exports.retention.prune_targets import NAMED, copies, is_shared, remove_copy
from stellaops.exports.retention.rules import owned, why_needed
from stellaops.exports.run import ENDED, Archive, Priority, Run, RunStatus
from stellaops.exports.submit_run import SubmitTools, submit_request

_TRIES = 20
_AWAY = (
    "Delete it again when the target can be reached and lets bundles be removed. Where there is no such target any"
    " more, take it out of the settings and remove what it has by hand."
)
_LATEST = "Bring a newer bundle of the profile there first, by a run or by `stella export distribute`."


@dataclass(frozen=True, slots=True)
class ControlTools:
    """What controls of runs work with.

    Attributes:
        queue: None where runs are executed without one, by the process that submits them.
    """

    runs: Runs
    artefacts: ArtefactStore
    queue: Queue | None
    now: Callable[[], datetime]
    turns: Turns
    pins: Pins
    targets: Targets


@dataclass(frozen=True, slots=True)
class Replay:
    """How to do a run again.

    Attributes:
        latest: on the newest snapshot, with the newest policy, instead of the run's.
        profile: another profile, such as a clone that was corrected, in its newest revision: the selectors that the
            run was submitted with stand over the profile's own. None for the run's profile as it was.
    """

    tenant: str
    run_id: str
    latest: bool = False
    profile: str | None = None
    allow_empty: bool = False
    priority: Priority | None = None
    by: str = ""
    traceparent: str = ""


def cancel_run(tenant: str, run_id: str, tools: ControlTools, *, by: str) -> Run:
    """End a run that has not ended; what works on it is stopped, and can write nothing more.

    Raises:
        RunNotFound: there is no such run.
        RunState: it has ended by itself.
    """
    now = tools.now()

    def cancelled(run: Run) -> tuple[Run, Event] | None:
        if run.status is RunStatus.CANCELLED:
            return None
        if run.status in ENDED:
            raise RunState(f"run {run.id} has ended: it is {run.status.value}")
        ended = replace(
            run.failed("cancelled", f"cancelled by {by}", now), status=RunStatus.CANCELLED, waiting=None
        )
        return ended, Event(EventType.CANCELLED, now, {"by": by})

    run = changed_run(tenant, run_id, cancelled, tools.runs)
    if tools.queue is not None:
        tools.queue.cancel(run)
    return run


def approve_run(tenant: str, run_id: str, tools: ControlTools, *, by: str) -> Run:
    """Let a held run go on: it is pending again, with all that it has built. Approving it twice is once.

    Raises:
        RunNotFound: there is no such run.
        RunState: it is not held.
    """
    now = tools.now()

    def approved(run: Run) -> tuple[Run, Event] | None:
        if run.approved_by is not None and run.status in (RunStatus.PENDING, RunStatus.RUNNING):
            return None
        if run.status is not RunStatus.HELD:
            raise RunState(f"run {run.id} is {run.status.value}, not held")
        told = Event(EventType.PENDING, now, {"approvedBy": by, "reasons": list(run.held)})
        return replace(run, status=RunStatus.PENDING, approved_by=by, worker=None), told

    run = changed_run(tenant, run_id, approved, tools.runs)
    if tools.queue is not None and run.status is RunStatus.PENDING:
        tools.queue.enqueue(run)
    return run


def changed_run(
    tenant: str, run_id: str, change: Callable[[Run], tuple[Run, Event] | None], runs: Runs
) -> Run:
    """Make a change of the record as it is, however often it changes meanwhile.

    Args:
        change: the record as it is to be, with the event that tells of it; None where there is nothing to change.

    Raises:
        RunNotFound: there is no such run.
        RunChanged: others change it all the time.
    """
    for _ in range(_TRIES):
        run = runs.get(tenant, run_id)
        if run is None:
            raise RunNotFound(f"tenant {tenant} has no run {run_id!r}")
        wanted = change(run)
        if wanted is None:
            return run
        try:
            return runs.change(wanted[0], [wanted[1]])
        except RunChanged:
            continue
    raise RunChanged(f"run {run_id} changes faster than it can be read")


def submit_replay(replay: Replay, tools: SubmitTools) -> Run:
    """Submit a run again: the same profile, selectors and snapshot give the same export.

    Raises:
        RunNotFound, ProfileNotFound: there is none, or it was deleted.
        RunQuotaExceeded: see `submit_run`.
    """
    origin = tools.runs.get(replay.tenant, replay.run_id)
    if origin is None:
        raise RunNotFound(f"tenant {replay.tenant} has no run {replay.run_id!r}")
    request = replay_of(origin, tools.new_id(), tools.profiles, latest=replay.latest, profile=replay.profile)
    request = replace(request, allow_empty=request.allow_empty or replay.allow_empty)
    return submit_request(
        request,
        tools,
        priority=replay.priority or origin.priority,
        by=replay.by,
        traceparent=replay.traceparent,
    )


def replay_of(
    origin: Run, run_id: str, profiles: Profiles, *, latest: bool = False, profile: str | None = None
) -> RunRequest:
    """The request that does a run again: its profile as it was, exactly its selectors, its snapshot or the newest.

    Raises:
        ProfileNotFound: the profile was deleted.
    """
    recipe, selectors = (
        find_profile(origin.tenant, profile, profiles) if profile else None,
        origin.asked.selectors,
    )
    if recipe is None:
        found = _revision(origin, profiles)
        # The run's selectors are those of its profile and of its request together; nothing may be added to them.
        recipe, selectors = replace(found, spec=structs.replace(found.spec, selectors={})), origin.selectors
    return RunRequest(
        run_id,
        origin.tenant,
        recipe,
        selectors,
        sequence=None if latest else origin.sequence,
        allow_empty=origin.asked.allow_empty or (origin.status is RunStatus.SUCCEEDED and not latest),
        replay_of=origin.id,
        policy_snapshot=None if latest or recipe.policy_mode == "none" else origin.policy_snapshot,
        base=_base_of(origin) if not latest else origin.asked.base,
    )


def _base_of(origin: Run) -> str | None:
    """What a delta is to build on again: the archive that it built on."""
    return origin.asked.base if origin.chain is None else origin.chain.base_run or origin.asked.base


def _revision(origin: Run, profiles: Profiles) -> Profile:
    revisions = profile_history(origin.tenant, origin.profile, profiles)
    found = next((each for each in revisions if each.revision == origin.profile_revision), None)
    if found is None:
        raise ProfileNotFound(f"revision {origin.profile_revision} of profile {origin.profile} was deleted")
    return found


def delete_run(run: Run, tools: ControlTools) -> list[str]:
    """Remove a run's record, and its bundle, here and at targets, where no other run has the same; what was removed.

    A copy at a target that is not among the settings any more, or that removes nothing, stays, and is told.

    Raises:
        RunState: it has not ended.
        RunKept: it is pinned or under a legal hold, or others build on it; or a target names its bundle the latest,
            or could not remove it: what other targets had is gone then, which the record says.
    """
    with tools.turns.turn(run.tenant):
        _removed_with(run, tools)
    told = [_removed_at(run, each, tools) for each in copies(run)]
    with tools.turns.turn(run.tenant):
        removed, archives = _removed_with(run, tools)
        for archive in archives:
            tools.artefacts.delete(archive)
        tools.runs.delete(run.tenant, run.id)
    return [*removed, *told]


def _removed_at(run: Run, told: Mapping[str, Any], tools: ControlTools) -> str:
    """Remove what one target has; what became of it, a sentence."""
    place = f"target {told['target']}: {told['reference']}"
    try:
        found = remove_copy(run, told, tools.runs, tools.targets, tools.now)
    except NotFound as error:
        return f"{place} stays: {error.what}"
    except StellaError as error:
        why = f"its bundle is still at the target {told['target']}: {error.what}"
        raise RunKept(f"run {run.id} cannot be deleted: {why}", hint=_AWAY) from error
    if found.detail == NAMED:
        why = f"the target {told['target']} names its bundle the latest"
        raise RunKept(f"run {run.id} cannot be deleted: {why}", hint=_LATEST)
    return place if found.removed else f"{place} stays: {found.detail}"


def removed_with(run: Run, tools: ControlTools) -> list[str]:
    """What `delete_run` would remove.

    Raises:
        RunState, RunKept: see there; targets are not asked.
    """
    shared = is_shared(run, tools.runs.list(run.tenant))
    told = [f"target {each['target']}: {each['reference']}" for each in copies(run)]
    return [*_removed_with(run, tools)[0], *(() if shared else told)]


def _removed_with(run: Run, tools: ControlTools) -> tuple[list[str], list[Archive]]:
    if run.status not in ENDED:
        raise RunState(f"run {run.id} is {run.status.value}; cancel it before it is deleted")
    runs = tools.runs.list(run.tenant)
    why = why_needed(run, runs, tools.pins.pins(run.tenant))
    if why is not None:
        raise RunKept(f"run {run.id} cannot be deleted: {why}")
    needed = owned(other for other in runs if other.id != run.id)
    own = () if run.archive is None or run.removed_at is not None else (run.archive,)
    archives = [each for each in dict.fromkeys((*own, *run.abandoned)) if each not in needed]
    told = [f"bundle {archive.export_id}/{archive.archive_id}" for archive in archives]
    return [f"run {run.id}", *told], archives
