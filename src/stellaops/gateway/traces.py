"""Traces of a mirror host: a span for each request, and the name of its trace for logs, problems and back ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stellaops.adapters.telemetry import tracing
from stellaops.adapters.telemetry.tracing import Attribute
from stellaops.gateway.requests import Request

LOOKED_AT = (b"/healthz", b"/readyz", b"/metrics")
"""What machines ask every few seconds is in no trace."""
_HEADER = b"traceparent"


@contextmanager
def traced(request: Request) -> Iterator[None]:
    """The work on a request as a span that goes on from the caller's; nothing where there are no traces."""
    if not tracing.is_on() or request.path in LOOKED_AT:
        yield
        return
    with tracing.span("mirror", kind="server", parent=_parent(request)) as span:
        request.traceparent = span.traceparent
        try:
            yield
        finally:
            span.named(_name(request))
            for name, value in _attributes(request).items():
                span.set(name, value)
            if request.status >= 500:
                span.failed(request.error_code, "the request could not be answered")


def record(request: Request, seconds: float) -> None:
    """The same of a request that was answered at once."""
    if tracing.is_on():
        request.traceparent = tracing.record(
            _name(request), seconds, kind="server", parent=_parent(request), attributes=_attributes(request)
        )


def context(request: Request) -> str:
    """The `traceparent` for whoever goes on with a request: of its span, else the caller's; empty without both."""
    return request.traceparent or _parent(request)


def trace_of(request: Request) -> str:
    """The id of the trace that a request is in; empty for none."""
    found = context(request)
    return tracing.trace_of(found) if found else ""


def _parent(request: Request) -> str:
    told = request.headers.get(_HEADER)
    return "" if told is None else tracing.remote_parent(told.decode("latin-1"))


def _name(request: Request) -> str:
    return f"mirror.{'authorize' if request.is_of_proxy else request.kind}"


def _attributes(request: Request) -> dict[str, Attribute | None]:
    return {
        "http.request.method": request.method,
        "http.response.status_code": request.status,
        "url.path": request.path.decode("latin-1"),
        "stella.domain": "" if request.domain == "-" else request.domain,
        "stella.client": request.caller,
        "stella.cache": request.cache,
    }
