"""One request from its path to its answer."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stellaops.adapters.sql.allowances import SqlAllowances
from stellaops.adapters.telemetry import tracing
from stellaops.api.frame.answers import conditional
from stellaops.api.frame.errors import HeadersTooMany, InvalidRequest, MethodNotAllowed, RouteNotFound
from stellaops.api.frame.handling import run_handler
from stellaops.api.frame.limits import Limits, Rates
from stellaops.api.frame.mutating import Mutations
from stellaops.api.frame.openings import Openings, demand_opened, is_link
from stellaops.api.frame.problems import Problematic, problem
from stellaops.api.frame.reading import body_of, read_query
from stellaops.api.frame.routing import Routes
from stellaops.api.frame.tokens import Tokens, bearer
from stellaops.api.operation import ANYONE, Call, Operation
from stellaops.authority.access import Principal
from stellaops.bootstrap import Local
from stellaops.core.allowances import OwnLeases
from stellaops.core.errors import NotAuthenticated, StellaError

_LOG = logging.getLogger("stellaops.api")
_LOOKED_AT = frozenset({"/healthz", "/readyz", "/metrics"})
"""What machines ask every few seconds is in no trace."""
_ALWAYS = {"x-content-type-options": "nosniff"}


@dataclass(slots=True)
class _Told:
    """What is known of a request so far; for its log line."""

    trace_id: str
    operation: str = ""
    client: str = ""
    tenant: str = ""
    error_code: str | None = None
    status: int = 500


class Dispatcher:
    """The API as an ASGI application, without what runs beside it."""

    def __init__(self, local: Local, routes: Routes, limits: Limits, mutations: Mutations) -> None:
        self._local = local
        self._openings = Openings(local)
        self._tokens = Tokens(self._openings.by_token)
        self._routes = routes
        self._limits = limits
        self._mutations = mutations
        per_minute = limits.requests_per_minute
        self._rates = Rates(per_minute, SqlAllowances(local.service_engine, "api"))
        # Whoever looks at a process asks that process, and is answered where the store is away, too.
        self._looks = Rates(per_minute, OwnLeases())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; every error becomes a problem document, and every request a line in the log."""
        request = Request(scope, receive, send)
        parent = tracing.remote_parent(request.headers.get("traceparent", ""))
        told = _Told(tracing.trace_of(parent) or secrets.token_hex(16))
        if request.scope["path"] in _LOOKED_AT:
            await self._told(request, told, send)
            return
        with tracing.span(
            "request", kind="server", parent=parent, http_request_method=request.method
        ) as span:
            told.trace_id = tracing.trace_of(span.traceparent) or told.trace_id
            await self._told(request, told, send)
            _describe(span, told)

    async def _told(self, request: Request, told: _Told, send: Send) -> None:
        began, scope, receive = time.monotonic(), request.scope, request.receive
        response: Response | None = None
        try:
            try:
                response = await self._answer(request, told)
            except StellaError as error:
                response = problem(error, told.trace_id)
            if isinstance(response, Problematic):
                told.error_code = response.code
            response.headers.setdefault("x-trace-id", told.trace_id)
            response.headers.update(_ALWAYS)
            await response(scope, receive, send)
        except Exception as error:
            told.error_code = StellaError.code
            _LOG.exception("unexpected error", extra={"traceId": told.trace_id, "operation": told.operation})
            if response is not None:
                raise  # its head may have gone out; the server ends the connection
            unexpected = StellaError(
                f"unexpected {type(error).__name__}", hint="Give the operator the traceId."
            )
            response = problem(unexpected, told.trace_id)
            await response(scope, receive, send)
        finally:
            if response is not None:
                told.status = response.status_code
            _log(request, told, time.monotonic() - began)

    async def _answer(self, request: Request, told: _Told) -> Response:
        operation, path = self._operation(request)
        told.operation = operation.id
        principal = await self._principal(request, operation, path)
        told.client = principal.client
        rates = self._looks if request.scope["path"] in _LOOKED_AT else self._rates
        await rates.take(principal.client or f"address {_remote(request)}")
        tenant = "" if operation.public else principal.tenant(request.headers.get("x-stella-tenant"))
        told.tenant = tenant
        if operation.scope is not None:
            principal.demand(operation.scope)
        demand_opened(principal, operation)
        query = read_query(operation.query, request.scope["query_string"])
        async with body_of(request, operation, self._limits) as (body, digest):
            call = Call(
                request, self._local, principal, tenant, path, query, body, told.trace_id, _remote(request)
            )
            if operation.mutating:
                return await self._mutations.answer(operation, call, digest)
            return conditional(request, await run_handler(operation, call))

    def _operation(self, request: Request) -> tuple[Operation, dict[str, str]]:
        if len(request.scope["headers"]) > self._limits.headers:
            raise HeadersTooMany(f"more than {self._limits.headers} header fields")
        found = self._routes.find(request.scope["path"])
        if found is None:
            raise RouteNotFound(f"there is no {request.scope['path'][:200]}")
        wanted = request.method
        operation = found.operations.get("GET" if wanted == "HEAD" else wanted)
        if operation is None:
            raise MethodNotAllowed(wanted, allowed=found.operations)
        if any("\x00" in value for value in found.path.values()):
            raise InvalidRequest("a part of the path holds a NUL character")
        return operation, found.path

    async def _principal(self, request: Request, operation: Operation, path: Mapping[str, str]) -> Principal:
        if operation.public:
            return ANYONE
        try:
            if operation.links and is_link(request):
                return await to_thread.run_sync(self._openings.by_link, request, path)
            return await self._tokens.principal(bearer(request))
        except NotAuthenticated:
            # Guessing has its price: the address pays, not a client.
            await self._rates.take(f"address {_remote(request)}")
            raise


def _remote(request: Request) -> str:
    return request.client.host if request.client else ""


def _describe(span: tracing.Span, told: _Told) -> None:
    """What a span of a request says, in the names that OpenTelemetry has for it."""
    if told.operation:
        span.named(told.operation)
    span.set("http.response.status_code", told.status)
    span.set("stella.operation", told.operation)
    span.set("stella.tenant", told.tenant)
    span.set("stella.client", told.client)
    if told.status >= 500:
        span.failed(told.error_code or StellaError.code, "the request could not be answered")


def _log(request: Request, told: _Told, seconds: float) -> None:
    if not _LOG.isEnabledFor(logging.INFO):
        return
    _LOG.info(
        "request",
        extra={
            "event": "http.request",
            "method": request.method,
            "operation": told.operation,
            "path": request.scope["path"],
            "status": told.status,
            "seconds": round(seconds, 4),
            "client": told.client,
            "tenant": told.tenant,
            "remote": _remote(request),
            "errorCode": told.error_code,
            "traceId": told.trace_id,
        },
    )
