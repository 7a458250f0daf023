"""Routes of runs: submit, look, cancel, replay, approve, delete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

import msgspec
from starlette.responses import Response

from stellaops.adapters.telemetry.tracing import traceparent
from stellaops.api.forms import (
    RunApproval,
    RunCancellation,
    RunForm,
    RunRemoved,
    RunReplay,
    RunsOfDay,
    RunSubmission,
)
from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page, PageQuery, cursor_of, place_of
from stellaops.api.profiles import DryRun
from stellaops.api.tools import control_tools, submit_tools
from stellaops.bootstrap import now, run_id_of
from stellaops.center import changes
from stellaops.core.timestamps import EPOCH
from stellaops.exports import control_runs, manage_runs, submit_run
from stellaops.exports.errors import (
    InvalidSelector,
    PolicyNotApplied,
    PolicySnapshotRequired,
    ProfileNotFound,
    RunChanged,
    RunKept,
    RunNotFound,
    RunQuotaExceeded,
    RunState,
    SnapshotUnknown,
)
from stellaops.exports.ports import RunFilter
from stellaops.exports.run import Run, RunStatus
from stellaops.findings.policies import SnapshotNotFound

READ, RUN = "export:read", "export:run"
_REQUEST_ERRORS = (
    InvalidSelector, PolicyNotApplied, PolicySnapshotRequired, ProfileNotFound, RunQuotaExceeded, SnapshotNotFound,
    SnapshotUnknown,
)  # fmt: skip
Profile = Annotated[str, msgspec.Meta(max_length=63, description="only of this profile")]


class RunsQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Which runs."""

    profile: Profile | None = None
    status: RunStatus | None = None


def list_runs(call: Call) -> Response:
    """Runs, newest first."""
    query: RunsQuery = call.query
    which = RunFilter(query.profile, query.status.value if query.status else None)
    before = _place(query.cursor) if query.cursor else None
    found = call.local.runs.list(call.tenant, which, before=before, limit=query.limit + 1)
    shown, more = found[: query.limit], len(found) > query.limit
    after = cursor_of(_microseconds(shown[-1].submitted_at), shown[-1].id) if more else None
    return answer(Page([run.to_wire() for run in shown], after))


class StatisticsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of how many days, today among them."""

    days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 14


def statistics(call: Call) -> Response:
    """How many runs were submitted on each day, by the state that they have."""
    since = now().date() - timedelta(days=call.query.days - 1)
    found = call.local.runs.by_day(call.tenant, since)
    return answer(Page([RunsOfDay(f"{day}", status, runs) for (day, status), runs in sorted(found.items())]))


def show(call: Call) -> Response:
    """One run; those who may only download it are not told who else has it, nor how it came about."""
    wire = find(call).to_wire()
    if call.principal.confined is not None:
        wire |= {"targets": [], "checks": [], "warnings": [], "submittedBy": None}
    return answer(wire)


def submit(call: Call) -> Response:
    """Ask for a run."""
    wanted: RunSubmission = call.body
    made = _made_before(call)
    if made is None:
        submission = submit_run.Submission(
            tenant=call.tenant,
            profile=wanted.profile,
            selectors=wanted.selectors,
            snapshot=wanted.snapshot,
            base=wanted.base,
            allow_empty=wanted.allow_empty,
            policy_snapshot=wanted.policy_snapshot,
            priority=wanted.priority,
            by=call.principal.client,
            traceparent=traceparent(call.trace_id),
        )
        made = submit_run.submit_run(submission, submit_tools(call, _run_id(call)))
    return _accepted(call, made)


def replay(call: Call) -> Response:
    """Ask for the same again."""
    wanted: RunReplay = call.body
    origin = find(call)
    made = _made_before(call)
    if made is None:
        asked = control_runs.Replay(
            call.tenant,
            origin.id,
            latest=wanted.latest,
            profile=wanted.profile,
            allow_empty=wanted.allow_empty,
            priority=wanted.priority,
            by=call.principal.client,
            traceparent=traceparent(call.trace_id),
        )
        made = control_runs.submit_replay(asked, submit_tools(call, _run_id(call)))
    return _accepted(call, made)


def cancel(call: Call) -> Response:
    """End a run that has not ended."""
    run = find(call)
    ended = control_runs.cancel_run(call.tenant, run.id, control_tools(call), by=call.principal.client)
    changes.run_changed(call.change, run, ended, call.body.reason)
    return answer(ended.to_wire())


def approve(call: Call) -> Response:
    """Let a held run go on."""
    run = find(call)
    let = control_runs.approve_run(call.tenant, run.id, control_tools(call), by=call.principal.client)
    changes.run_approved(call.change, run, let, call.body.reason)
    return answer(let.to_wire())


def delete(call: Call) -> Response:
    """Forget a run, and its bundle where no other run has the same."""
    run, dry, tools = find(call), call.query.dry_run, control_tools(call)
    removed = control_runs.removed_with(run, tools) if dry else control_runs.delete_run(run, tools)
    changes.run_deleted(call.change, run, removed, dry_run=dry)
    return answer({"runId": run.id, "removed": list(removed), "dryRun": dry})


def find(call: Call) -> Run:
    """The run of the path: by its id, or the newest successful one by `latest` or `latest:PROFILE`.

    Raises:
        RunNotFound: see there.
    """
    run = manage_runs.find_run(call.tenant, call.path["id"], call.local.runs)
    confined = call.principal.confined
    if confined is not None and not confined.admits(run.id, run.profile):
        raise RunNotFound(f"tenant {call.tenant} has no run {call.path['id'][:80]!r} that this token opens")
    return run


def _run_id(call: Call) -> str:
    """The id of the run that the request makes, however often the request comes."""
    return run_id_of(datetime.fromtimestamp(int(call.seed[:8], 16), UTC), call.seed[8:16])


def _made_before(call: Call) -> Run | None:
    """The run that an earlier attempt of the same request made before its process died."""
    return call.local.runs.get(call.tenant, _run_id(call))


def _accepted(call: Call, made: Run) -> Response:
    changes.run_submitted(call.change, made)
    return answer(made.to_wire(), 202, {"location": f"/api/export/runs/{made.id}"})


def _microseconds(moment: datetime) -> int:
    whole = moment - EPOCH
    return (whole.days * 86_400 + whole.seconds) * 1_000_000 + whole.microseconds


def _place(cursor: str) -> Run:
    """The run after which the page begins, as far as its place in the order goes."""
    at, run_id = place_of(cursor, form=tuple[int, str])
    return _AT_ANY_PLACE(id=run_id, submitted_at=EPOCH + timedelta(microseconds=at))


_AT_ANY_PLACE = partial(
    Run, tenant="", profile="", profile_revision="", kind="", selectors={}, status=RunStatus.PENDING
)
_PATH = "/api/export/runs"
_RUN = Answer("The run", RunForm)
_ACCEPTED = Answer("It is in the queue", RunForm, headers={"location": "where the run is found"})
OPERATIONS = (
    Operation(
        "listRuns", "GET", _PATH, "Runs, newest first", list_runs, READ, query=RunsQuery,
        answers={200: Answer("A page of them", Page[RunForm])},
    ),
    Operation(
        "getRunStatistics", "GET", "/api/export/statistics",
        "How many runs were submitted on each day, by the state that they have", statistics, READ,
        query=StatisticsQuery, answers={200: Answer("Days and states without runs are left out", Page[RunsOfDay])},
    ),
    Operation(
        "submitRun", "POST", _PATH, "Ask for a run", submit, RUN, body=RunSubmission, answers={202: _ACCEPTED},
        errors=_REQUEST_ERRORS, mutating=True, action="run.submitted",
    ),
    Operation(
        "getRun", "GET", f"{_PATH}/{{id}}", "A run; `latest` and `latest:PROFILE` name the newest that succeeded", show,
        READ, answers={200: _RUN}, errors=(RunNotFound,), downloads=True,
    ),
    Operation(
        "deleteRun", "DELETE", f"{_PATH}/{{id}}", "Forget a run, and its bundle where no other run has the same",
        delete, RUN, query=DryRun, answers={200: Answer("What was removed", RunRemoved)},
        errors=(RunNotFound, RunState, RunKept), mutating=True, action="run.deleted",
    ),
    Operation(
        "cancelRun", "POST", f"{_PATH}/{{id}}/cancel", "End a run that has not ended", cancel, RUN,
        body=RunCancellation, required=False, answers={200: _RUN}, errors=(RunNotFound, RunState, RunChanged),
        mutating=True, action="run.cancelled",
    ),
    Operation(
        "replayRun", "POST", f"{_PATH}/{{id}}/replay", "Ask for the same again", replay, RUN,
        body=RunReplay, required=False, answers={202: _ACCEPTED}, errors=(*_REQUEST_ERRORS, RunNotFound),
        mutating=True, action="run.submitted",
    ),
    Operation(
        "approveRun", "POST", f"{_PATH}/{{id}}/approve", "Let a held run go on", approve, RUN, body=RunApproval,
        answers={200: _RUN}, errors=(RunNotFound, RunState, RunChanged), mutating=True, action="run.approved",
    ),
)  # fmt: skip
