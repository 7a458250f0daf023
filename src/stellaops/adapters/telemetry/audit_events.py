"""Records of the audit log as lines of the log: of requests, and of commands on a data directory."""

from __future__ import annotations

import logging

from stellaops.authority.audit import AuditRecord

_LOG = logging.getLogger("stellaops.audit")


def say_change(record: AuditRecord) -> None:
    """One event by the action's name, under the names that all logs have."""
    change = record.change
    kind, _, name = change.target.partition("/")
    extra = {
        "event": change.action,
        "tenant": record.tenant,
        "client": record.actor,
        "target": change.target,
        "runId": name if kind == "run" else None,
        "profile": name if kind == "profile" else change.details.get("profile"),
        "errorCode": None if record.outcome == "ok" else record.outcome,
        "traceId": record.trace_id,
    }
    _LOG.info(change.action, extra=extra)
