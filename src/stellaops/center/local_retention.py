"""Retention of the local stores."""

from __future__ import annotations

from stellaops.bootstrap import Local
from stellaops.center import changes
from stellaops.center.noting import local_audit
from stellaops.center.wire import Wire
from stellaops.exports.retention.pin_runs import pin_run, unpin_run
from stellaops.exports.retention.prune_exports import overview, prune_exports
from stellaops.exports.retention.report import pin_wire
from stellaops.exports.retention.rules import PinKind


class LocalRetention:
    """`center.interface.Retention` on the local stores.

    Args:
        by: who asks, for records.
    """

    def __init__(self, local: Local, tenant: str, by: str) -> None:
        self._local, self._tenant, self._by = local, tenant, by
        self._noting = local_audit(local, tenant).noting

    def show(self) -> Wire:
        """See the interface."""
        return overview(self._tenant, self._local.retention_tools)

    def run(self, *, dry_run: bool = False, every_tenant: bool = False) -> Wire:
        """See the interface."""
        tenants = None if every_tenant else [self._tenant]
        with self._noting("retention.run", "retention") as told:
            report = prune_exports(self._local.retention_tools, tenants, dry_run=dry_run)
            changes.retention_run(told, report)
        return report.to_wire()

    def pin(self, run_id: str, reason: str, *, legal_hold: bool = False) -> Wire:
        """See the interface."""
        kind, tools = _kind(legal_hold), self._local.pin_tools
        with self._noting("run.pinned", "") as told:
            made = pin_run(self._tenant, run_id, kind, reason, tools, by=self._by)
            changes.run_pinned(told, made, reason)
        return pin_wire(made)

    def unpin(self, run_id: str, reason: str, *, legal_hold: bool = False) -> Wire:
        """See the interface."""
        kind, tools = _kind(legal_hold), self._local.pin_tools
        with self._noting("run.unpinned", "") as told:
            gone = unpin_run(self._tenant, run_id, kind, reason, tools)
            changes.run_pinned(told, gone, reason)
        return pin_wire(gone)


def _kind(legal_hold: bool) -> PinKind:
    return PinKind.HOLD if legal_hold else PinKind.PIN
