"""Retention of a server."""

from __future__ import annotations

from stellaops.center.wire import Wire
from stellaops.client.connection import WORK, Connection, mapping, path_of

_RETENTION, _RUNS = "/api/export/retention", "/api/export/runs"


class RemoteRetention:
    """`center.interface.Retention` of a server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def show(self) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(_RETENTION))

    def run(self, *, dry_run: bool = False, every_tenant: bool = False) -> Wire:
        """See the interface."""
        body = {"dryRun": dry_run, "everyTenant": every_tenant}
        return mapping(self._connection.change("POST", _RETENTION, body, patience=WORK))

    def pin(self, run_id: str, reason: str, *, legal_hold: bool = False) -> Wire:
        """See the interface."""
        return self._asked(run_id, "pin", reason, legal_hold=legal_hold)

    def unpin(self, run_id: str, reason: str, *, legal_hold: bool = False) -> Wire:
        """See the interface."""
        return self._asked(run_id, "unpin", reason, legal_hold=legal_hold)

    def _asked(self, run_id: str, verb: str, reason: str, *, legal_hold: bool) -> Wire:
        body = {"reason": reason, "legalHold": legal_hold}
        return mapping(self._connection.change("POST", path_of(_RUNS, run_id, verb), body))
