"""What logs say of runs: in workers, and where a command executes one itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from stellaops.adapters.telemetry.tracing import trace_of
from stellaops.exports.errors import ERROR_CODES, UnsupportedSchema
from stellaops.exports.profile import DELTA, FULL
from stellaops.exports.run import Run, RunStatus

_LOG = logging.getLogger("stellaops.runs")
UNSUPPORTED_SCHEMA = "adapter.trivy.unsupported_schema_version"
BUNDLE_CREATED = "mirror.bundle.created"


def say(event: str, run: Run, level: int = logging.INFO, more: str = "") -> None:
    """One event of a run, under the names that all logs have."""
    extra = {
        "event": event,
        "runId": run.id,
        "profile": run.profile,
        "tenant": run.tenant,
        "errorCode": run.error_code,
        "traceId": trace_of(run.traceparent),
    }
    _LOG.log(level, "%s %s%s", event, run.id, f": {more}" if more else "", extra=extra)


def say_end(run: Run) -> None:
    """The state that a run has come to, and what operators look for by name."""
    failed = run.status is RunStatus.FAILED
    say(f"run.{run.status.value}", run, logging.ERROR if failed else logging.INFO, run.error or "")
    for event in notable(run):
        say(event, run, logging.ERROR if failed else logging.INFO)
    for target in run.targets:
        if target.get("status") == "failed":
            words = f"target {target['target']}: {target.get('error')}"
            say("run.target_failed", run, logging.WARNING, words)


def notable(run: Run) -> Iterator[str]:
    """Events beside the state of a run."""
    if run.status is RunStatus.FAILED and run.error_code == ERROR_CODES[UnsupportedSchema.code]:
        yield UNSUPPORTED_SCHEMA
    if run.status is RunStatus.SUCCEEDED and run.kind in (FULL, DELTA):
        yield BUNDLE_CREATED
