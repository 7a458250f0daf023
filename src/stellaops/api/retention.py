"""Routes about retention: what stays and why, a pass by hand, and pins of runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from starlette.responses import Response

from stellaops.api.forms import Asking, Form
from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.authority.actors import OperatorOnly
from stellaops.center import changes
from stellaops.exports.errors import BundleGone, RetentionBusy, RunNotFound
from stellaops.exports.retention.pin_runs import PinNotFound, ReasonMissing, pin_run, unpin_run
from stellaops.exports.retention.prune_exports import overview, prune_exports
from stellaops.exports.retention.report import pin_wire
from stellaops.exports.retention.rules import Pin, PinKind

READ, RUN, MANAGE = "export:read", "export:run", "export:profile:manage"
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class RetentionRule(Form, frozen=True):
    """How long the bundles of a profile are kept: for days, or the newest by count."""

    profile: str
    kind: str
    mode: Literal["days", "count"]
    value: int
    from_: Literal["profile", "settings"] = msgspec.field(name="from")
    bundles: int


class JudgedRun(Form, frozen=True):
    """A run with a bundle, and why that stays or goes."""

    tenant: str
    run_id: str
    profile: str
    kind: str
    export_id: str | None
    archive_id: str | None
    sequence: int | None
    bytes: int
    finished_at: datetime | None
    why: str


class PinForm(Form, frozen=True):
    """A run that retention leaves alone."""

    run_id: str
    kind: PinKind
    reason: str
    by: str
    at: datetime


class Floor(Form, frozen=True):
    """How far back the evidence reaches."""

    floor: int


class PassForm(Form, frozen=True):
    """The last pass that has ended; its report in numbers."""

    at: datetime
    succeeded_at: datetime | None
    report: dict[str, Any]


class RetentionForm(Form, frozen=True):
    """What stays and what goes at the next pass."""

    tenant: str
    rules: list[RetentionRule]
    stays: list[JudgedRun]
    goes: list[JudgedRun]
    pins: list[PinForm]
    evidence: Floor
    last: PassForm | None


class ArchiveGone(Form, frozen=True):
    """An archive that was removed, or would be."""

    tenant: str
    profile: str
    kind: str
    export_id: str
    archive_id: str
    runs: list[str]
    bytes: int


class TargetGone(Form, frozen=True):
    """A bundle at a target that was removed there, or would be, or why not."""

    tenant: str
    run_id: str
    target: str
    reference: str
    removed: bool
    detail: str | None


class EvidenceGone(Form, frozen=True):
    """What was removed of the evidence, and the sequence that it reaches back to, now and before."""

    floor: int
    was: int
    documents: int
    tombstones: int
    consensus: int


class RetentionReport(Form, frozen=True):
    """What a pass has done, or would do."""

    at: datetime
    dry_run: bool
    ok: bool
    expired: list[JudgedRun]
    archives: list[ArchiveGone]
    bytes: int
    targets: list[TargetGone]
    lists: int
    evidence: EvidenceGone | None
    failures: list[str]


class RetentionPass(Asking, frozen=True):
    """How a pass is made: without removing anything, or for every tenant."""

    dry_run: bool = False
    every_tenant: bool = False


class PinAsked(Asking, frozen=True):
    """Why a run's bundle stays, or need not stay any more; a legal hold needs the scope `export:profile:manage`."""

    reason: Reason
    legal_hold: bool = False


def show(call: Call) -> Response:
    """What stays and what goes."""
    return answer(overview(call.tenant, call.local.retention_tools))


def run(call: Call) -> Response:
    """One pass."""
    asked: RetentionPass = call.body
    if asked.every_tenant and not call.principal.operator:
        raise OperatorOnly(
            f"client {call.principal.client} does not act for every tenant, whose bundles would go"
        )
    tenants = None if asked.every_tenant else [call.tenant]
    report = prune_exports(call.local.retention_tools, tenants, dry_run=asked.dry_run)
    changes.retention_run(call.change, report)
    return answer(report.to_wire())


def pin(call: Call) -> Response:
    """Let a run's bundle stay."""
    kind = _kind(call)
    made = pin_run(
        call.tenant, call.path["id"], kind, call.body.reason, call.local.pin_tools, by=call.principal.client
    )
    return _told(call, made)


def unpin(call: Call) -> Response:
    """Leave a run's bundle to the rules again."""
    kind = _kind(call)
    return _told(call, unpin_run(call.tenant, call.path["id"], kind, call.body.reason, call.local.pin_tools))


def _kind(call: Call) -> PinKind:
    if not call.body.legal_hold:
        return PinKind.PIN
    call.principal.demand(MANAGE)
    return PinKind.HOLD


def _told(call: Call, pin: Pin) -> Response:
    changes.run_pinned(call.change, pin, call.body.reason)
    return answer(pin_wire(pin))


_EXPORT = "/api/export"
OPERATIONS = (
    Operation(
        "getRetention", "GET", f"{_EXPORT}/retention", "Which bundles stay, which go at the next pass, and why", show,
        READ, answers={200: Answer("By the rules as they are", RetentionForm)},
    ),
    Operation(
        "runRetention", "POST", f"{_EXPORT}/retention", "Remove what is over", run, RUN, body=RetentionPass,
        required=False, answers={200: Answer("What was removed and why, or would be", RetentionReport)},
        errors=(OperatorOnly, RetentionBusy), mutating=True, action="retention.run",
    ),
    Operation(
        "pinRun", "POST", f"{_EXPORT}/runs/{{id}}/pin", "Let a run's bundle stay, whatever its age", pin, RUN,
        body=PinAsked, answers={200: Answer("The pin, or the legal hold", PinForm)},
        errors=(RunNotFound, BundleGone, ReasonMissing, RetentionBusy), mutating=True, action="run.pinned",
    ),
    Operation(
        "unpinRun", "POST", f"{_EXPORT}/runs/{{id}}/unpin", "Leave a run's bundle to the rules again", unpin, RUN,
        body=PinAsked, answers={200: Answer("What it was", PinForm)}, errors=(RunNotFound, PinNotFound, ReasonMissing),
        mutating=True, action="run.unpinned",
    ),
)  # fmt: skip
