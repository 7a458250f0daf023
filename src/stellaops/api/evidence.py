"""`/api/evidence`: a tenant's bills of materials, and what is found in them."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from stellaops.api.excititor import Weights
from stellaops.api.frame.answers import answer
from stellaops.api.imports import (
    IMPORT_ERRORS,
    MEDIA,
    FileQuery,
    ImportReport,
    Sequence,
    Text,
    uploaded,
)
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page
from stellaops.center.interface import FindingsWanted
from stellaops.center.local_tenant import LocalEvidence
from stellaops.findings.find import SbomNotFound
from stellaops.findings.policies import LATEST, SnapshotNotFound
from stellaops.vex.weights import BadWeights

_SCOPE = "evidence:write"
_TAG = "evidence"


class FindingsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Of which bill of materials, by which policy snapshot, as of which sequence."""

    sbom: Text | None = None
    policy_snapshot: Text = LATEST
    sequence: Sequence | None = None


class FindingsBody(FindingsQuery, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The same with weights of issuers of VEX."""

    weights: Weights | None = None


class Findings(msgspec.Struct, frozen=True, rename="camel"):
    """What bills of materials are vulnerable to."""

    policy_snapshot: str
    digest: str
    open: int
    suppressed: int
    findings: list[dict[str, Any]]


def _center(call: Call) -> LocalEvidence:
    return LocalEvidence(call.local, call.tenant, call.noting)


def _import(call: Call) -> Response:
    call.change.target = f"sboms/{call.tenant}"
    with uploaded(call, f"sboms\t{call.tenant}") as inputs:
        report = _center(call).import_inputs(inputs, prune=call.query.prune)
    return answer(report)


def _sboms(call: Call) -> Response:
    return answer(Page(_center(call).sboms()))


def _findings(call: Call) -> Response:
    asked: FindingsQuery = call.body or call.query
    weights = asked.weights if isinstance(asked, FindingsBody) else None
    wanted = FindingsWanted(
        asked.sbom, asked.policy_snapshot, asked.sequence, None if weights is None else weights.encode()
    )
    return answer(_center(call).findings(wanted))


_ANSWERS = {200: Answer("the findings", Findings)}

OPERATIONS = (
    Operation(
        "listSboms", "GET", "/api/evidence/sboms", "The tenant's bills of materials",
        _sboms, scope=_SCOPE, answers={200: Answer("bills of materials", Page[dict[str, Any]])}, tag=_TAG,
    ),
    Operation(
        "importSboms", "POST", "/api/evidence/sboms", "Import a bill of materials, an archive, or a tar of paths",
        _import, scope=_SCOPE, query=FileQuery, upload=MEDIA, answers={200: Answer("what it did", ImportReport)},
        errors=IMPORT_ERRORS, mutating=True, action="evidence.sboms.imported", tag=_TAG,
    ),
    Operation(
        "listFindings", "GET", "/api/evidence/findings", "What they are vulnerable to, and why",
        _findings, scope=_SCOPE, query=FindingsQuery, answers=_ANSWERS, errors=(SbomNotFound, SnapshotNotFound),
        tag=_TAG,
    ),
    Operation(
        "weighFindings", "POST", "/api/evidence/findings", "The same by other weights of issuers of VEX",
        _findings, scope=_SCOPE, body=FindingsBody, answers=_ANSWERS,
        errors=(SbomNotFound, SnapshotNotFound, BadWeights), tag=_TAG,
    ),
)  # fmt: skip
