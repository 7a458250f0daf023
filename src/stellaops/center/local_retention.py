"""Retention of the local stores."""

from __future__ import annotations

from stellaops.authority.audit import Change
from stellaops.bootstrap import Local
from stellaops.center.authority import local_audit
from stellaops.center.wire import Wire
from stellaops.exports.retention.pin_runs import pin_run, unpin_run
from stellaops.exports.retention.prune_exports import overview, prune_exports
from stellaops.exports.retention.report import pin_wire
from stellaops.exports.retention.rules import Pin, PinKind


class LocalRetention:
    """`center.interface.Retention` on the local stores.

    Args:
        by: who asks, for records.
    """

    def __init__(self, local: Local, tenant: str, by: str) -> None:
        self._local, self._tenant, self._by = local, tenant, by

    def show(self) -> Wire:
        """See the interface."""
        return overview(self._tenant, self._local.retention_tools)

    def run(self, *, dry_run: bool = False, every_tenant: bool = False) -> Wire:
        """See the interface."""
        tenants = None if every_tenant else [self._tenant]
        report = prune_exports(self._local.retention_tools, tenants, dry_run=dry_run)
        if not dry_run:
            details = {"archives": len(report.archives), "failures": len(report.failures)}
            self._tell(Change("retention.run", "retention", details=details))
        return report.to_wire()

    def pin(self, run_id: str, reason: str, *, legal_hold: bool = False) -> Wire:
        """See the interface."""
        made = pin_run(self._tenant, run_id, _kind(legal_hold), reason, self._local.pin_tools, by=self._by)
        return self._told("run.pinned", made, reason)

    def unpin(self, run_id: str, reason: str, *, legal_hold: bool = False) -> Wire:
        """See the interface."""
        gone = unpin_run(self._tenant, run_id, _kind(legal_hold), reason, self._local.pin_tools)
        return self._told("run.unpinned", gone, reason)

    def _told(self, action: str, pin: Pin, reason: str) -> Wire:
        change = Change(action, f"run/{pin.run_id}", reason=reason, details={"kind": pin.kind.value})
        self._tell(change)
        return pin_wire(pin)

    def _tell(self, change: Change) -> None:
        local_audit(self._local, self._tenant)(change)


def _kind(legal_hold: bool) -> PinKind:
    return PinKind.HOLD if legal_hold else PinKind.PIN
