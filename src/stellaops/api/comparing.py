"""Routes that look ahead and back: what a run would select, and what changed between two."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
from anyio import CapacityLimiter, to_thread
from starlette.responses import Response

from stellaops.api.forms import PlanForm, RunSubmission
from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.center.interface import Submission
from stellaops.center.local_exports import LocalExports
from stellaops.exports.diff_exports import NotComparable
from stellaops.exports.errors import (
    BaseMissing,
    BundleGone,
    EmptyExport,
    GateRefused,
    InvalidSelector,
    PolicyNotApplied,
    PolicySnapshotRequired,
    ProfileNotFound,
    RunNotFound,
    SnapshotPruned,
    SnapshotUnknown,
    UnsupportedSchema,
)
from stellaops.findings.policies import SnapshotNotFound

READ = "export:read"
_LONG = CapacityLimiter(1)  # both take a processor for a while; others wait, and reads go on
RunId = Annotated[
    str, msgspec.Meta(min_length=1, max_length=200, description="a run, `latest`, `latest:PROFILE`")
]


class DiffQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two runs of one kind."""

    old: RunId
    new: RunId


async def plan(call: Call) -> Response:
    """What a run would select, without building it."""
    wanted: RunSubmission = call.body
    submission = Submission(
        profile=wanted.profile,
        selectors=wanted.selectors,
        sequence=wanted.snapshot,
        allow_empty=wanted.allow_empty,
        policy_snapshot=wanted.policy_snapshot,
        base=wanted.base,
    )
    exports = LocalExports(call.local, call.tenant, call.principal.client)
    return answer(await to_thread.run_sync(exports.plan, submission, limiter=_LONG))


async def diff(call: Call) -> Response:
    """What changed between two runs."""
    exports = LocalExports(call.local, call.tenant, call.principal.client)
    ask = partial(exports.diff, call.query.old, call.query.new)
    return answer(await to_thread.run_sync(ask, limiter=_LONG))


OPERATIONS = (
    Operation(
        "planRun", "POST", "/api/export/plan", "What a run would select, without building it", plan, READ,
        body=RunSubmission, answers={200: Answer("What it would be cut from", PlanForm)},
        errors=(
            BaseMissing, EmptyExport, GateRefused, InvalidSelector, PolicyNotApplied, PolicySnapshotRequired,
            SnapshotNotFound, ProfileNotFound, SnapshotPruned, SnapshotUnknown, UnsupportedSchema,
        ),
    ),
    Operation(
        "diffRuns", "GET", "/api/export/diff", "What changed between two runs", diff, READ, query=DiffQuery,
        answers={200: Answer("The differences", dict[str, Any])}, errors=(RunNotFound, BundleGone, NotComparable),
    ),
)  # fmt: skip
