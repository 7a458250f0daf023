"""What the audit log says of changes that no request and no command stands for, in their transactions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from stellaops.adapters.sql.audit import write
from stellaops.authority.audit import AuditRecord, Change
from stellaops.exports.events import Event, EventType
from stellaops.exports.profile import DELTA, FULL, Profile
from stellaops.exports.run import Run

_LOG = logging.getLogger("stellaops.profiles")
BUNDLE_CREATED, ENCRYPTION_ENABLED = "mirror.bundle.created", "mirror.encryption.enabled"


def note_bundle(connection: Connection, run: Run, events: Sequence[Event]) -> None:
    """A mirror bundle has come to be: its run has succeeded."""
    for event in events:
        if event.type is EventType.SUCCEEDED and run.kind in (FULL, DELTA):
            details: dict[str, Any] = {
                "exportId": run.export_id,
                "archiveId": run.archive_id,
                "profile": run.profile,
                "kind": run.kind,
                "bytes": run.bytes,
                "base": None if run.chain is None or run.chain.base is None else run.chain.base.archive_id,
            }
            change = Change(BUNDLE_CREATED, f"run/{run.id}", details=details)
            _write(connection, event.at, run, change)


def _write(connection: Connection, at: datetime, run: Run, change: Change) -> None:
    trace = run.traceparent.split("-")
    actor, origin = run.submitted_by or "worker", run.worker or ""
    write(
        connection,
        AuditRecord(at, run.tenant, actor, origin, change, trace[1] if len(trace) == 4 else ""),
    )


def note_encryption(connection: Connection, before: Profile | None, after: Profile) -> None:
    """From a revision of a profile on, what it makes is encrypted; also told to the log."""
    encryption = after.spec.encryption
    if not encryption.enabled or (before is not None and before.spec.encryption.enabled):
        return
    at = after.created_at or datetime.now(UTC)
    details = {
        "mode": encryption.mode,
        "recipients": len(encryption.recipient_keys),
        "revision": after.revision,
    }
    change = Change(ENCRYPTION_ENABLED, f"profile/{after.name}", reason=after.reason, details=details)
    write(connection, AuditRecord(at, after.tenant, after.created_by, "", change))
    told = {"event": ENCRYPTION_ENABLED, "tenant": after.tenant, "profile": after.name}
    _LOG.info("%s %s", ENCRYPTION_ENABLED, after.name, extra=told)
