"""Routes about targets: where bundles can be brought, whether they answer, and bringing a run's bundle there again."""

from __future__ import annotations

from starlette.responses import Response

from stellaops.api.forms import RunDistribution, RunForm, TargetForm, TargetTest
from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page
from stellaops.api.runs import find
from stellaops.center import changes
from stellaops.exports.distribution import manage_targets
from stellaops.exports.distribution.distribute_run import distribute_run
from stellaops.exports.errors import (
    BundleGone,
    RunChanged,
    RunNotFound,
    RunState,
    TargetNotFound,
    VerifyFailed,
)

READ, RUN = "export:read", "export:run"


def targets(call: Call) -> Response:
    """Where bundles can be brought."""
    found = manage_targets.list_targets(call.tenant, call.local.verify_tools)
    return answer(Page([each.to_wire() for each in found]))


def probe_target(call: Call) -> Response:
    """Whether a target answers: something small is sent, read back and removed."""
    return answer(manage_targets.test_target(call.tenant, call.path["id"], call.local.delivery))


def distribute(call: Call) -> Response:
    """Bring a bundle to its targets; the answer comes when it was tried for all of them."""
    run = find(call)
    done = distribute_run(call.tenant, run.id, call.body.target, call.local.export_tools)
    changes.run_distributed(call.change, run, done)
    return answer(done.to_wire())


_EXPORT = "/api/export"
OPERATIONS = (
    Operation(
        "listTargets", "GET", f"{_EXPORT}/targets", "Where bundles can be brought", targets, READ,
        answers={200: Answer("Their names and drivers, and what is the latest there", Page[TargetForm])},
    ),
    Operation(
        "testTarget", "POST", f"{_EXPORT}/targets/{{id}}/test", "Whether a target answers", probe_target, RUN,
        answers={200: Answer("What it said", TargetTest)}, errors=(TargetNotFound,),
    ),
    Operation(
        "distributeRun", "POST", f"{_EXPORT}/runs/{{id}}/distribute", "Bring a bundle to its targets again", distribute,
        RUN, body=RunDistribution, required=False, answers={200: Answer("With what came of each target", RunForm)},
        errors=(RunNotFound, RunState, RunChanged, BundleGone, TargetNotFound, VerifyFailed), mutating=True,
        action="run.distributed",
    ),
)  # fmt: skip
