"""Routes about the service itself: health, readiness, metrics, its own description."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from typing import Any

import msgspec
from starlette.responses import Response

from stellaops import __version__
from stellaops.adapters.telemetry.metrics import CONTENT_TYPE
from stellaops.api import openapi
from stellaops.api.frame.answers import answer
from stellaops.api.frame.tokens import bearer
from stellaops.api.operation import Answer, Call, Operation
from stellaops.authority.actors import OperatorOnly
from stellaops.bootstrap import Local
from stellaops.core.egress import networks
from stellaops.core.errors import DependencyFailed, NotAuthenticated, StellaError
from stellaops.exports.run import Archive, RunStatus


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str
    version: str


class Ready(msgspec.Struct, frozen=True):
    """What the service needs is there."""

    status: str
    checks: dict[str, str]


class NotReady(DependencyFailed):
    """Something that the service needs does not answer."""

    code = "ERR_NOT_READY"
    hint = "Look at the part that the message names."


async def healthz(call: Call) -> Response:
    """Whether the process answers; it asks nobody else."""
    return answer(Alive("ok", __version__), headers={"cache-control": "no-store"})


def readyz(call: Call) -> Response:
    """Whether the stores answer."""
    problems = {name: problem for name, check in _CHECKS.items() if (problem := _problem(check, call.local))}
    if problems:
        details = [f"{name}: {text}" for name, text in problems.items()]
        raise NotReady("; ".join(f"{name} does not answer" for name in problems), details=details)
    return answer(Ready("ok", dict.fromkeys(_CHECKS, "ok")), headers={"cache-control": "no-store"})


def _problem(check: Callable[[Local], object], local: Local) -> str | None:
    try:
        check(local)
    except StellaError as error:
        return error.code
    return None


_CHECKS: dict[str, Callable[[Local], object]] = {
    "evidence": lambda local: local.evidence.sequence(),
    "service": lambda local: local.runs.count("default", RunStatus.RUNNING),
    "artefacts": lambda local: local.artefacts.exists(Archive("probe", "probe")),
}


def metrics(call: Call) -> Response:
    """Metrics in the text form of Prometheus, for who is near, and for operators."""
    if not _is_near(call):
        principal = call.local.access.principal(bearer(call.request))
        if not principal.operator:
            raise OperatorOnly(f"client {principal.client} does not act for all tenants")
    served = call.request.app.metrics
    return Response(served.text(), 200, {"cache-control": "no-store"}, CONTENT_TYPE)


def _is_near(call: Call) -> bool:
    near = networks(call.local.settings.listed("api.metricsFrom"))
    try:
        address = ip_address(call.remote)
    except ValueError:  # a socket of this machine has none
        return not call.remote
    return any(address in each for each in near)


def describe(call: Call) -> Response:
    """The document that this API keeps to."""
    return answer(_document())


@cache
def _document() -> dict[str, Any]:
    from stellaops.api.registry import operations  # noqa: PLC0415 - the registry lists this module

    return openapi.document(operations())


OPERATIONS = (
    Operation(
        "getHealth", "GET", "/healthz", "Whether the process answers", healthz, public=True, tag="service",
        answers={200: Answer("It does", Alive)},
    ),
    Operation(
        "getReadiness", "GET", "/readyz", "Whether the stores answer", readyz, public=True, tag="service",
        answers={200: Answer("They do", Ready)}, errors=(NotReady,),
    ),
    Operation(
        "getMetrics", "GET", "/metrics", "Metrics in the text form of Prometheus", metrics, public=True, tag="service",
        answers={200: Answer("Every series", media="text/plain")}, errors=(NotAuthenticated, OperatorOnly),
    ),
    Operation(
        "getOpenApi", "GET", "/openapi.json", "This document", describe, public=True, tag="service",
        answers={200: Answer("OpenAPI 3.1", dict[str, Any])},
    ),
)  # fmt: skip
