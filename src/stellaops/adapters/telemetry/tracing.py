"""Traces by OpenTelemetry, from a request to the steps of the run that it asked for; nothing of it is loaded when off.

Spans go to a collector by OTLP over HTTP. The variables `OTEL_…` of the standard say where and how many of them.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from stellaops import __version__
from stellaops.adapters.settings.load import traces_wanted
from stellaops.core.errors import MissingPrerequisite

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OpenSpan
    from opentelemetry.trace import SpanKind, Tracer

_PATIENCE = 3.0
"""Seconds that an ending process waits for the collector to take its last spans."""

Attribute = str | int | float | bool
# W3C trace context: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class TelemetryExtraMissing(MissingPrerequisite):
    """Traces are asked for by `OTEL_…`, and the libraries that make them are not installed."""

    code = "ERR_TELEMETRY_EXTRA_MISSING"
    hint = "Install them: `pip install 'stellaops[telemetry]'`; or set OTEL_SDK_DISABLED=true."


class Span(Protocol):
    """A piece of work under way."""

    @property
    def traceparent(self) -> str:
        """Its name for whoever goes on elsewhere (W3C trace context); empty where there are no traces."""
        ...

    def named(self, name: str) -> None:
        """What it is called, where that became known meanwhile."""
        ...

    def set(self, name: str, value: Attribute | None) -> None:
        """Add what became known meanwhile; None is left out."""
        ...

    def failed(self, code: str, message: str) -> None:
        """It did not do what it should."""
        ...


class _Nothing:
    """Where there are no traces."""

    traceparent = ""

    def named(self, name: str) -> None:
        """See `Span`."""

    def set(self, name: str, value: Attribute | None) -> None:
        """See `Span`."""

    def failed(self, code: str, message: str) -> None:
        """See `Span`."""


NOTHING: Span = _Nothing()


class _Recorded:
    """A span of the library's."""

    def __init__(self, span: OpenSpan) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """See `Span`."""
        found = self._span.get_span_context()
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"

    def named(self, name: str) -> None:
        """See `Span`."""
        self._span.update_name(name)

    def set(self, name: str, value: Attribute | None) -> None:
        """See `Span`."""
        if value is not None and value != "":
            self._span.set_attribute(name, value)

    def failed(self, code: str, message: str) -> None:
        """See `Span`."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - only where there are traces

        self._span.set_status(StatusCode.ERROR, message)
        self._span.set_attribute("error.type", code)


class _Recorder:
    """What makes spans in this process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer: Tracer = provider.get_tracer("stellaops", __version__)

    def begin(
        self,
        name: str,
        kind: str,
        parent: str,
        attributes: Mapping[str, Attribute | None],
        began: int | None = None,
    ) -> OpenSpan:
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
        told = {name: value for name, value in attributes.items() if value is not None and value != ""}
        return self._tracer.start_span(name, context, _kind(kind), told, start_time=began)

    def end(self) -> None:
        self._provider.shutdown()


_recorder: _Recorder | None = None


def configure(service: str) -> None:
    """Make traces from here on, if the environment asks for them.

    Args:
        service: the name of this process among others, where `OTEL_SERVICE_NAME` does not say it.

    Raises:
        TelemetryExtraMissing, InvalidSettings: they are asked for and cannot be made.
    """
    global _recorder  # noqa: PLW0603 - of the process, as its logs are
    if _recorder is None and traces_wanted():
        try:
            _recorder = _Recorder(_provider(service))
        except ModuleNotFoundError as error:
            raise TelemetryExtraMissing(f"the library {error.name} is not installed") from error


def _provider(service: str) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = Resource.create({"service.name": service, "service.version": __version__})
    # How processes end is ours to say: `end` waits a moment and no longer.
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _kind(name: str) -> SpanKind:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    return SpanKind[name.upper()]


def is_on() -> bool:
    """Whether this process makes traces."""
    return _recorder is not None


@contextmanager
def span(
    name: str, *, kind: str = "internal", parent: str = "", **attributes: Attribute | None
) -> Iterator[Span]:
    """A piece of work, from here to the end of the block; spans that begin in it are below it.

    Args:
        kind: `internal`, `server`, `producer` or `consumer`.
        parent: the `traceparent` that it goes on from; the span around it where empty.
        attributes: what is known of it; `_` stands for the dot in their names.
    """
    if _recorder is None:
        yield NOTHING
        return
    from opentelemetry.trace import use_span  # noqa: PLC0415

    told = {each.replace("_", "."): value for each, value in attributes.items()}
    begun = _recorder.begin(name, kind, parent, told)
    with use_span(begun, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        found = _Recorded(begun)
        try:
            yield found
        except BaseException as error:
            found.failed(str(getattr(error, "code", "") or type(error).__name__), type(error).__name__)
            raise


def record(
    name: str, seconds: float, *, kind: str, parent: str, attributes: Mapping[str, Attribute | None]
) -> str:
    """A piece of work that has just ended, where a span around it would cost more than the work.

    Args:
        seconds: how long it took.
        attributes: by their names.

    Returns:
        its `traceparent`; empty where there are no traces.
    """
    if _recorder is None:
        return ""
    began = time.time_ns() - int(seconds * 1e9)
    made = _recorder.begin(name, kind, parent, attributes, began)
    made.end()
    return _Recorded(made).traceparent


class Steps:
    """Spans one after the other: each begins where the one before it ends. `exports.step_clock.Progress`."""

    def __init__(self, parent: str, prefix: str) -> None:
        self._parent, self._prefix = parent, prefix
        self._now: OpenSpan | None = None

    def __call__(self, step: str) -> None:
        """The next step has begun."""
        self.close()
        if _recorder is not None:
            self._now = _recorder.begin(f"{self._prefix}{step}", "internal", self._parent, {})

    def close(self, error: BaseException | None = None) -> None:
        """The last one has ended."""
        if self._now is not None:
            if error is not None:
                code = getattr(error, "code", "") or type(error).__name__
                _Recorded(self._now).failed(str(code), type(error).__name__)
            self._now.end()
        self._now = None


def traceparent(trace_id: str) -> str:
    """The name under which what is asked for here goes on elsewhere.

    Args:
        trace_id: of the request, 32 hex digits; where there are no traces, it is what logs have in common.
    """
    if _recorder is not None:
        from opentelemetry.trace import get_current_span  # noqa: PLC0415

        current = get_current_span()
        if current.get_span_context().is_valid:
            return _Recorded(current).traceparent
    return f"00-{trace_id}-{secrets.token_hex(8)}-00"


def remote_parent(text: str) -> str:
    """A caller's `traceparent`; empty where it has none that can be gone on from."""
    found = _TRACEPARENT.fullmatch(text)
    return text if found and found[1].strip("0") and found[2].strip("0") else ""


def trace_of(parent: str) -> str:
    """The trace id in a `traceparent`; empty where there is none."""
    parts = parent.split("-")
    return parts[1] if len(parts) == 4 else ""


def end() -> None:
    """Give the last spans to the collector, if it takes them within a moment; make none from here on."""
    global _recorder
    ending, _recorder = _recorder, None
    if ending is not None:
        thread = threading.Thread(target=ending.end, daemon=True)
        thread.start()
        thread.join(_PATIENCE)
