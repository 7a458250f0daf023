"""The steps of a run, from its start to its end. Whoever drives them may die between or inside any two.

Each step takes the run as the store has it and returns it as it stored it: a step whose result stands in the record
(`Run.done`) does nothing more, so that a later attempt goes on where the last one was. Every write names the version
that it was made from, so that what a process writes that was taken over is refused (`RunChanged`); the work that it
did may have been for nothing, but has moved nothing. Events are written with the change that they tell of.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from stellaops.core.errors import DependencyFailed, StellaError
from stellaops.exports.building.make_archive import checks_of, make_archive
from stellaops.exports.distribution import deliver
from stellaops.exports.errors import (
    ArchiveGone,
    DistributionFailed,
    GateRefused,
    RunChanged,
    RunNotFound,
    RunState,
    VerifyFailed,
    error_code,
)
from stellaops.exports.events import Event, EventType
from stellaops.exports.gate import Previous, objections
from stellaops.exports.guarded_signer import tried_signer
from stellaops.exports.issue_freshness import say_fresh
from stellaops.exports.plan_run import (
    Plan,
    Tools,
    plan_again,
    plan_digest,
    plan_export,
    recipe_at_present,
    request_of,
)
from stellaops.exports.ports import RunFilter, Staging
from stellaops.exports.profile import HTTP, destinations
from stellaops.exports.read_profile import check_schema
from stellaops.exports.retention.claim_archive import claim_archive, demand_base
from stellaops.exports.retention.room import demand_room
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.step_clock import Clock, Progress, Told, nothing
from stellaops.kit.verify import verify_bundle

STEPS = ("plan", "build", "gate", "publish", "distribute", "finish")
"""The steps between `start` and the end of a run that succeeds, in order."""

_PAGE = 20


def start(tenant: str, run_id: str, worker: str, tools: Tools) -> Run:
    """Begin an attempt: of a pending run, or of a running one whose worker is known to be dead.

    Raises:
        RunNotFound: there is no such run.
        RunState: it is held, or has ended.
        RunChanged: someone else has begun it at the same moment.
    """
    run = find(tenant, run_id, tools)
    _demand(run, RunStatus.PENDING, RunStatus.RUNNING)
    now = tools.now()
    begun = replace(
        run,
        status=RunStatus.RUNNING,
        attempt=run.attempt + 1,
        worker=worker,
        waiting=None,
        started_at=run.started_at or now,
    )
    return tools.runs.change(begun, [started(begun, now)])


def _demand(run: Run, *statuses: RunStatus) -> None:
    if run.status not in statuses:
        raise RunState(f"run {run.id} is {run.status.value}")


def started(run: Run, now: datetime) -> Event:
    """The event of a run that has begun."""
    return Event(EventType.STARTED, now, {"attempt": run.attempt, "worker": run.worker})


def find(tenant: str, run_id: str, tools: Tools) -> Run:
    """A run by its id.

    Raises:
        RunNotFound: there is none.
    """
    run = tools.runs.get(tenant, run_id)
    if run is None:
        raise RunNotFound(f"tenant {tenant} has no run {run_id!r}")
    return run


def current(tenant: str, run_id: str, attempt: int, tools: Tools) -> Run:
    """The record of an attempt under way, for whoever drives its next step.

    Raises:
        RunNotFound: there is no such run.
        RunChanged: the run is not running, or in another attempt.
    """
    run = find(tenant, run_id, tools)
    if run.status is not RunStatus.RUNNING or run.attempt != attempt:
        raise RunChanged(f"run {run_id} is {run.status.value} in attempt {run.attempt}, not in {attempt}")
    return run


def plan(run: Run, tools: Tools, progress: Progress = nothing) -> Run:
    """Pin what the run selects: sequence, snapshot, policy, and with them the digest of its plan.

    Where the tenant has an archive of an equal plan, the run is to share it (`shared_from`).

    Raises:
        StellaError: the run fails for this reason.
    """
    return run if "plan" in run.done else planned(run, tools, progress)[0]


def planned(run: Run, tools: Tools, progress: Progress = nothing) -> tuple[Run, Plan]:
    """The same with the plan itself, for who goes on in the same process."""
    clock = Clock(run, tools, progress)
    request = request_of(run, tools.profiles)
    with clock.step("plan"):
        check_schema(request.profile.spec)
        signer = tried_signer(tools.keys, run.tenant, request.profile.spec.signing.key_ref)
    with clock.step("collect"):
        made = plan_export(request, tools)
    digest = plan_digest(made.request, made, signer.key_id, tools.projection_versions)
    origin = _equal(run, digest, tools)
    pinned = replace(
        run,
        sequence=made.selection.sequence,
        snapshot=made.snapshot.digest,
        policy_snapshot=None if made.policy is None else made.policy.digest,
        plan_digest=digest,
        counts=dict(made.snapshot.counts),
        chain=made.chain,
        shared_from=None if origin is None else origin.id,
        durations=clock.durations,
        done=_with(run, "plan"),
    )
    pinned = tools.runs.change(pinned)
    demand_base(pinned, tools.runs, tools.turns)
    return pinned, made


def _equal(run: Run, digest: str, tools: Tools) -> Run | None:
    """The newest run of an equal plan whose archive is kept."""
    for other in tools.runs.planned(run.tenant, digest):
        if other.id != run.id and other.archive is not None and tools.artefacts.exists(other.archive):
            return other
    return None


def build(run: Run, tools: Tools, progress: Progress = nothing) -> Run:
    """Build, sign, verify, smoke, and put the archive into the store, where nobody can reach it before `publish`.

    An archive of an equal plan is verified and shared in place of all that. May run in a process of its own.

    Raises:
        StellaError: the run fails for this reason.
    """
    run, found = _found(run, tools, progress)
    if found:
        return run
    made = plan_again(run, tools)
    # Another attempt's process may be stopped, not dead, and still hold its place.
    with tools.workspace.stage(f"{run.id}-{run.attempt}") as staging:
        return _make(staging, run, made, tools, progress)


def build_by(staging: Staging, run: Run, made: Plan, tools: Tools, progress: Progress = nothing) -> Run:
    """The same in a staging place that the caller holds, by a plan that it has made."""
    run, found = _found(run, tools, progress)
    return run if found else _make(staging, run, made, tools, progress)


def _found(run: Run, tools: Tools, progress: Progress) -> tuple[Run, bool]:
    """The run, and whether it has its archive: an earlier attempt or an equal run has made it."""
    if "build" in run.done and run.archive is not None and tools.artefacts.exists(run.archive):
        return run, True
    # Looked for once more: while this run waited for its turn, an equal one may have ended.
    origin = _equal(run, run.plan_digest or "", tools)
    return (run, False) if origin is None else _share(run, origin, tools, progress)


def _make(staging: Staging, run: Run, made: Plan, tools: Tools, progress: Progress) -> Run:
    demand_room(staging, run, made, tools)
    finished = make_archive(staging, run, made, tools, Clock(run, tools, progress))
    staging.reserve(0)
    finished = replace(finished, done=_with(run, "build"))
    return tools.runs.change(finished, [_verified_event(finished, tools)])


def _share(run: Run, origin: Run, tools: Tools, progress: Progress) -> tuple[Run, bool]:
    """The run with the archive of an equal one, and whether that is there and sound."""
    if origin.archive is None:
        return run, False
    clock = Clock(run, tools, progress)
    run = claim_archive(run, origin.archive, tools.runs, tools.turns)
    if not tools.artefacts.exists(origin.archive):
        return run, False
    with clock.step("verify", sharedFrom=origin.id):
        trusted, revoked = tools.keys.trusted(run.tenant)
        with tools.artefacts.opened(origin.archive) as root:
            report = verify_bundle(root, trusted, revoked=revoked)
    if report.verdict != "ok":
        return run, False
    shared = replace(
        run,
        export_id=origin.export_id,
        archive_id=origin.archive_id,
        rerun_hash=origin.rerun_hash,
        artifacts=origin.artifacts,
        signatures=origin.signatures,
        chain=origin.chain,
        shared_from=origin.id,
        warnings=origin.warnings,
        checks=checks_of(report),
        durations=clock.durations,
        done=_with(run, "build"),
    )
    return tools.runs.change(shared, [_verified_event(shared, tools)]), True


def gate(run: Run, tools: Tools, progress: Progress = nothing) -> Run:
    """Hold the run against its profile's bounds and the run before it: it goes on, or is held for an approval.

    Raises:
        GateRefused: a bound is broken, and the profile does not ask for an approval.
    """
    if "gate" in run.done:
        return run
    clock = Clock(run, tools, progress)
    with clock.step("gate"):
        request = request_of(run, tools.profiles)
        bounds = request.profile.spec.gate
        ages = tools.evidence.checked() if bounds.max_source_age else {}
        found = objections(bounds, run, _previous(run, tools), ages, tools.now())
    passed = replace(run, durations=clock.durations, done=_with(run, "gate"), held=tuple(found))
    if not found or run.approved_by is not None:
        return tools.runs.change(passed)
    if not bounds.approve:
        raise GateRefused(f"the publish gate refuses the run: {found[0]}", details=found)
    held = replace(passed, status=RunStatus.HELD, done=run.done)
    return tools.runs.change(held, [Event(EventType.HELD, tools.now(), {"reasons": list(found)})])


def _previous(run: Run, tools: Tools) -> Previous | None:
    """The newest run of the same recipe and selectors that succeeded, of no later snapshot."""
    which, last = RunFilter(run.profile, RunStatus.SUCCEEDED.value), None
    while page := tools.runs.list(run.tenant, which, before=last, limit=_PAGE):
        for other in page:
            alike = (other.kind, other.selectors) == (run.kind, run.selectors)
            if alike and other.id != run.id and (other.sequence or 0) <= (run.sequence or 0):
                return Previous(other.id, other.counts, other.bytes)
        last = page[-1]
    return None


def publish(run: Run, tools: Tools, progress: Progress = nothing) -> Run:
    """See that the archive is there, and tell of its artefacts.

    Raises:
        ArchiveGone: it is not; another attempt builds it again.
    """
    if "publish" in run.done:
        return run
    clock = Clock(run, tools, progress)
    with clock.step("publish"):
        if run.archive is None or not tools.artefacts.exists(run.archive):
            raise ArchiveGone(f"archive {run.archive_id} of run {run.id} is not in the store of artefacts")
    now = tools.now()
    ready = [
        Event(EventType.ARTIFACT_READY, now, {"name": a.name, "path": a.path, "sha256": a.sha256, "bytes": a.bytes})
        for a in run.artifacts
    ]  # fmt: skip
    return tools.runs.change(replace(run, durations=clock.durations, done=_with(run, "publish")), ready)


def distribute(run: Run, tools: Tools, progress: Progress = nothing) -> Run:
    """Bring the archive to the profile's targets; those that an earlier attempt reached are left out.

    Each outcome stands in the record before the next target's turn. Targets that fail leave the run degraded.

    Raises:
        DistributionFailed: a target that the profile requires did not take the bundle.
        StellaError: the bundle cannot be read here.
    """
    if "distribute" in run.done:
        return run
    clock = Clock(run, tools, progress)
    with clock.step("distribute"):
        spec = request_of(run, tools.profiles).profile.spec
        # What is done again goes where such bundles go now, such as nowhere while a registry is down.
        current = spec if run.replay_of is None else recipe_at_present(run, tools.profiles).spec
        wanted = destinations(current)
        lacking = deliver.missing(run, wanted)
        if any(each != HTTP for each in lacking):
            run = tools.runs.change(deliver.awaiting(run, wanted, tools.now()))
        again = False
        said, key = Told(run, tools), spec.signing.key_ref
        for outcome in deliver.bring(run, lacking, tools.delivery, said, key=key):
            run = tools.runs.change(deliver.noted(run, outcome), [outcome.event()])
            again |= outcome.may_pass
    failed, degraded = deliver.unreached(run, wanted)
    run = replace(run, degraded=degraded, durations=clock.durations)
    if failed:
        tools.runs.change(run)
        raise DistributionFailed(deliver.words(run, failed), again=again)
    return tools.runs.change(replace(run, done=_with(run, "distribute")))


def finish(run: Run, tools: Tools, progress: Progress = nothing) -> Run:
    """End the run: its export can be downloaded from here on."""
    progress("finish")
    if run.status is RunStatus.SUCCEEDED:
        return run
    _demand(run, RunStatus.RUNNING)
    now = tools.now()
    ended = replace(run, status=RunStatus.SUCCEEDED, finished_at=now, error_code=None, error=None)
    data = {"exportId": run.export_id, "degraded": run.degraded, "sharedFrom": run.shared_from}
    # The record first: a process that was taken over must not say that what it has made is the newest.
    return said_fresh(tools.runs.change(ended, [Event(EventType.SUCCEEDED, now, data)]), tools)


def said_fresh(run: Run, tools: Tools) -> Run:
    """The run with a freshness statement about it; the export is whole without one, which can be made later."""
    try:
        say_fresh(run, tools.freshness)
    except StellaError as error:
        warned = replace(run, warnings=(*run.warnings, f"no freshness statement was issued: {error.what}"))
        with suppress(StellaError):
            return tools.runs.change(warned)
    return run


def fail(run: Run, error: BaseException, tools: Tools) -> Run:
    """End the run by an error. What it built stays in the store until the run is deleted, and nobody can reach it.

    Raises:
        RunChanged, RunState: the run is in other hands, or has ended.
    """
    _demand(run, RunStatus.PENDING, RunStatus.RUNNING)
    now = tools.now()
    if isinstance(error, KeyboardInterrupt):
        ended = replace(run.failed("cancelled", "interrupted", now), status=RunStatus.CANCELLED)
        return tools.runs.change(ended, [Event(EventType.CANCELLED, now, {"by": run.worker})])
    ended = replace(
        run.failed(error_code(error), told(error), now), checks=_failed_checks(error) or run.checks
    )
    data = {"errorCode": ended.error_code, "error": ended.error, "attempt": run.attempt}
    return tools.runs.change(ended, [Event(EventType.FAILED, now, data)])


def _failed_checks(error: BaseException) -> tuple[dict[str, str], ...]:
    """The checks that a verification found failed, as records and metrics name them."""
    details = error.details if isinstance(error, VerifyFailed) else ()
    heads = (detail.partition(": ")[0].partition(" ") for detail in details)
    return tuple({"id": number, "name": name, "status": "failed"} for number, _, name in heads if name)


def retry(run: Run, error: BaseException, tools: Tools, *, seconds: float = 0) -> Run:
    """Put the run back into the queue after an attempt that failed; what the attempt finished stands.

    Args:
        seconds: after which the next attempt begins; the caller sees to it.

    Raises:
        RunChanged, RunState: the run is in other hands, or has ended.
    """
    _demand(run, RunStatus.RUNNING)
    reason = f"attempt {run.attempt} failed: {told(error)}; the next one begins in {seconds:.0f} s"
    done = () if isinstance(error, ArchiveGone) else run.done
    waiting = replace(run, status=RunStatus.PENDING, waiting=reason, worker=None, done=done)
    data = {"attempt": run.attempt, "error": told(error), "errorCode": error_code(error), "seconds": seconds}
    return tools.runs.change(waiting, [Event(EventType.PENDING, tools.now(), data)])


def _with(run: Run, step: str) -> tuple[str, ...]:
    return (*(done for done in run.done if done != step), step)


def is_worth_retrying(error: BaseException) -> bool:
    """Whether a later attempt may not meet an error: other systems that fail, and imports that are under way."""
    stays = (isinstance(error, GateRefused) and error.details) or not getattr(error, "again", True)
    return isinstance(error, DependencyFailed) and not stays


def told(error: BaseException) -> str:
    """An error in words."""
    return error.what if isinstance(error, StellaError) else f"{type(error).__name__}: {error}"


def _verified_event(run: Run, tools: Tools) -> Event:
    data = {"exportId": run.export_id, "checks": len(run.checks), "sharedFrom": run.shared_from}
    return Event(EventType.VERIFIED, tools.now(), data)
