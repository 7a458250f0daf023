"""`/api/policy`: overlays of the tenant and their snapshots."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from stellaops.api.frame.answers import answer
from stellaops.api.imports import IMPORT_ERRORS, MEDIA, FileQuery, ImportReport, Text, uploaded
from stellaops.api.operation import Answer, Call, Operation
from stellaops.center.local_tenant import BadInstant, LocalPolicies
from stellaops.findings.policies import SnapshotNotFound
from stellaops.ingest.apply_policy import check
from stellaops.policy.overlay import BadOverlay

_SCOPE = "policy:manage"
_TAG = "policy"


class SnapshotBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The instant by which rules have expired, the present one if left out; `keep: false` only shows what it holds."""

    at: Text | None = None
    keep: bool = True


class Linted(msgspec.Struct, frozen=True):
    """What is in the files, and everything that is wrong with them."""

    overlays: list[str]
    rules: int
    problems: list[str]


def _center(call: Call) -> LocalPolicies:
    return LocalPolicies(call.local, call.tenant, call.noting)


def _lint(call: Call) -> Response:
    with uploaded(call, f"lint\t{call.tenant}") as inputs:
        checked = check(inputs)
    rules = sum(len(overlay.rules) for overlay in checked.overlays)
    return answer(Linted([overlay.id for overlay in checked.overlays], rules, list(checked.problems)))


def _apply(call: Call) -> Response:
    call.change.target = f"policy/{call.tenant}"
    with uploaded(call, f"policy\t{call.tenant}") as inputs:
        report = _center(call).apply_inputs(inputs, prune=call.query.prune)
    return answer(report)


def _overview(call: Call) -> Response:
    return answer(_center(call).overview())


def _snapshot(call: Call) -> Response:
    taken = _center(call).snapshot(at=call.body.at, keep=call.body.keep)
    return answer(taken)


def _show(call: Call) -> Response:
    return answer(_center(call).show(call.path["digest"]))


def _raw(call: Call) -> Response:
    return Response(_center(call).raw(call.path["digest"]), media_type="application/json")


OPERATIONS = (
    Operation(
        "getPolicy", "GET", "/api/policy", "The overlays that are applied and the snapshots that were taken",
        _overview, scope=_SCOPE, answers={200: Answer("overlays and snapshots", dict[str, Any])}, tag=_TAG,
    ),
    Operation(
        "lintPolicy", "POST", "/api/policy/lint", "Check overlays without applying them",
        _lint, scope=_SCOPE, query=FileQuery, upload=MEDIA, answers={200: Answer("what is in them", Linted)},
        errors=IMPORT_ERRORS, tag=_TAG,
    ),
    Operation(
        "applyPolicy", "POST", "/api/policy/apply", "Make overlays the tenant's; with one mistake none is applied",
        _apply, scope=_SCOPE, query=FileQuery, upload=MEDIA, answers={200: Answer("what it did", ImportReport)},
        errors=(BadOverlay, *IMPORT_ERRORS), mutating=True, action="policy.applied", tag=_TAG,
    ),
    Operation(
        "takePolicySnapshot", "POST", "/api/policy/snapshots", "Take a snapshot of the rules in force",
        _snapshot, scope=_SCOPE, body=SnapshotBody, required=False,
        answers={200: Answer("what it holds", dict[str, Any])},
        errors=(BadInstant, BadOverlay), mutating=True, action="policy.snapshot.taken", tag=_TAG,
    ),
    Operation(
        "getPolicySnapshot", "GET", "/api/policy/snapshots/{digest}", "The rules of a snapshot, or of `latest`",
        _show, scope=_SCOPE, answers={200: Answer("the rules", dict[str, Any])}, errors=(SnapshotNotFound,),
        tag=_TAG,
    ),
    Operation(
        "downloadPolicySnapshot", "GET", "/api/policy/snapshots/{digest}/raw",
        "The canonical bytes that the digest is of",
        _raw, scope=_SCOPE, answers={200: Answer("the snapshot", dict[str, Any])}, errors=(SnapshotNotFound,),
        tag=_TAG,
    ),
)  # fmt: skip
