"""`/api/excititor`: VEX and its consensus."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from stellaops.api import imports
from stellaops.api.frame.answers import answer
from stellaops.api.imports import Sequence, Text
from stellaops.api.operation import Answer, Call, Operation
from stellaops.center.interface import ConsensusWanted
from stellaops.center.local_ingest import LocalExcititor, StatementNotFound
from stellaops.findings.policies import LATEST, SnapshotNotFound
from stellaops.ingest.feeds import Side
from stellaops.vex.weights import BadWeights

_READ = "excititor.mirror.read"
_INGEST = "excititor.ingest"
_TAG = "excititor"
Weights = Annotated[str, msgspec.Meta(max_length=500_000)]
"""A YAML document with the weights of issuers."""


class ConsensusQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """About which vulnerability, which product of it, by which policy snapshot, as of which sequence."""

    vulnerability: Text
    product: Text | None = None
    policy_snapshot: Text = LATEST
    sequence: Sequence | None = None


class ConsensusBody(ConsensusQuery, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The same with weights of issuers."""

    weights: Weights | None = None


def _center(call: Call) -> LocalExcititor:
    return LocalExcititor(call.local, call.tenant, call.noting)


def _consensus(call: Call) -> Response:
    asked: ConsensusQuery = call.body or call.query
    weights = asked.weights if isinstance(asked, ConsensusBody) else None
    document = None if weights is None else weights.encode()
    wanted = ConsensusWanted(
        asked.vulnerability, asked.product, asked.sequence, document, asked.policy_snapshot
    )
    return answer(_center(call).consensus(wanted))


_ERRORS = (StatementNotFound, SnapshotNotFound)
_ANSWERS = {200: Answer("what stands, with every statement behind it", dict[str, Any])}

OPERATIONS = (
    *imports.operations(Side.VEX, _center, _INGEST, _READ),
    Operation(
        "getConsensus", "GET", "/api/excititor/consensus", "What VEX says about a vulnerability",
        _consensus, scope=_READ, query=ConsensusQuery, answers=_ANSWERS, errors=_ERRORS, tag=_TAG,
    ),
    Operation(
        "weighConsensus", "POST", "/api/excititor/consensus", "The same by other weights of issuers",
        _consensus, scope=_READ, body=ConsensusBody, answers=_ANSWERS, errors=(*_ERRORS, BadWeights),
        tag=_TAG,
    ),
)  # fmt: skip
