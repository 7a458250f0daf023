"""Routes about what looks after bundles: quotas, verification at targets, chores."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from starlette.responses import Response

from stellaops.api.forms import Asking, Form, Name
from stellaops.api.frame.answers import answer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page
from stellaops.authority.actors import OperatorOnly
from stellaops.center import local_upkeep
from stellaops.exports.distribution.verify_targets import verify_targets
from stellaops.exports.errors import ProfileNotFound, TargetNotFound

READ, RUN = "export:read", "export:run"


class StoredForm(Form, frozen=True):
    """What a tenant keeps of a profile: in the store of artefacts, or at a target."""

    store: str
    profile: str
    kind: str
    bytes: int
    bundles: int


class QuotaForm(Form, frozen=True):
    """What a tenant may have, and has; `storedBytes` is what counts for `maxStorageBytes`."""

    tenant: str
    max_active_runs: int
    max_queued_runs: int
    max_storage_bytes: int | None
    running: int
    pending: int
    held: int
    stored_bytes: int
    stores: list[StoredForm]


class FailedCheck(Form, frozen=True):
    """A check that failed, and what was found."""

    check: str
    detail: str


class VerificationForm(Form, frozen=True):
    """What came of fetching the newest bundle of a profile back from a target."""

    profile: str
    kind: str
    target: str
    driver: str
    run_id: str
    reference: str
    at: datetime
    status: Literal["ok", "failed", "skipped"]
    failed: list[FailedCheck]
    remarks: list[str]
    bytes: int
    seconds: float
    sound_at: datetime | msgspec.UnsetType | None = msgspec.UNSET


class VerificationAsked(Asking, frozen=True):
    """Only at a target, or only of a profile."""

    target: Name | None = None
    profile: Name | None = None


class ChoreForm(Form, frozen=True):
    """What workers do by themselves, and what came of it."""

    chore: str
    begun_at: datetime
    finished_at: datetime | None
    succeeded_at: datetime | None
    ok: bool | None
    report: dict[str, Any]


def quotas(call: Call) -> Response:
    """What the tenant may have, and has."""
    return answer(local_upkeep.quotas(call.local, call.tenant))


def verifications(call: Call) -> Response:
    """What was last found at each target."""
    return answer(Page(local_upkeep.verifications(call.local, call.tenant)))


def verify(call: Call) -> Response:
    """Fetch the newest bundles back and verify them; the answer comes when all were looked at."""
    asked: VerificationAsked = call.body
    found = verify_targets(call.tenant, call.local.verify_tools, target=asked.target, profile=asked.profile)
    return answer(Page([each.to_wire() for each in found]))


def chores(call: Call) -> Response:
    """What workers do by themselves; what it says is about all tenants."""
    if not call.principal.operator:
        raise OperatorOnly(f"client {call.principal.client} does not act for every tenant")
    return answer(Page([each.to_wire() for each in call.local.chores.all()]))


_EXPORT = "/api/export"
OPERATIONS = (
    Operation(
        "getQuotas", "GET", f"{_EXPORT}/quotas", "What the tenant may have, and has", quotas, READ,
        answers={200: Answer("Its limits and numbers", QuotaForm)},
    ),
    Operation(
        "listVerifications", "GET", f"{_EXPORT}/verifications",
        "What was last found of the newest bundles at each target", verifications, READ,
        answers={200: Answer("By profile and target", Page[VerificationForm])},
    ),
    Operation(
        "verifyTargets", "POST", f"{_EXPORT}/verifications",
        "Fetch the newest bundles back from their targets and verify them", verify, RUN, body=VerificationAsked,
        required=False, answers={200: Answer("What was found", Page[VerificationForm])},
        errors=(TargetNotFound, ProfileNotFound),
    ),
    Operation(
        "listChores", "GET", f"{_EXPORT}/chores", "What workers do by themselves, and what came of it (operators)",
        chores, READ, answers={200: Answer("By name", Page[ChoreForm])}, errors=(OperatorOnly,),
    ),
)  # fmt: skip
