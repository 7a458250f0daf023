"""What is told of archives that were applied, or were not: in the log, and in the audit log where there is one here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stellaops.adapters.sql import migrations
from stellaops.adapters.sql.address import SqliteFile
from stellaops.authority.audit import AuditRecord, Change
from stellaops.bootstrap import Local, now
from stellaops.cli.frame import App, user
from stellaops.core.errors import StellaError
from stellaops.kit.apply import Applied

_LOG = logging.getLogger("stellaops.mirror")
APPLIED, FAILED = "mirror.delta.applied", "mirror.delta.apply_failed"


@contextmanager
def applying(app: App, into: Path) -> Iterator[Callable[[Applied], None]]:
    """Around what applies archives to a directory; what it gives is called with what came of it."""

    def told(done: Applied) -> None:
        for archive in done.applied:
            details = {"exportId": done.export_id, "archiveId": archive, "bytes": done.bytes}
            extra = {"event": APPLIED, "tenant": done.manifest.tenant, "into": str(into), **details}
            _LOG.info("%s %s", APPLIED, into, extra=extra)
            _note(
                app.home, done.manifest.tenant, Change(APPLIED, f"mirror/{into.absolute()}", details=details)
            )

    try:
        yield told
    except StellaError as error:
        extra = {"event": FAILED, "errorCode": error.code, "into": str(into)}
        _LOG.error("%s %s: %s", FAILED, into, error.what, extra=extra)
        raise


def _note(local: Local, tenant: str, change: Change) -> None:
    """Write it to the audit log of an installation; a receiver that has none gets none."""
    address = local.store_address(migrations.SERVICE)
    if isinstance(address, SqliteFile) and not address.path.exists():
        return
    with suppress(StellaError):  # it is in force already
        local.audit.add(AuditRecord(now(), tenant, f"local:{user()}", "local", change))
