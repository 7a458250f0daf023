"""What looks after the bundles of the local stores: quotas, verification at targets, chores."""

from __future__ import annotations

from typing import Any

from stellaops.bootstrap import Local
from stellaops.center.interface import Progress, silent
from stellaops.center.wire import Wire
from stellaops.core import timestamps
from stellaops.exports.distribution.verify_targets import verify_targets
from stellaops.exports.retention.storage import used
from stellaops.exports.run import RunStatus


class LocalUpkeep:
    """`center.interface.Upkeep` on the local stores."""

    def __init__(self, local: Local, tenant: str) -> None:
        self._local, self._tenant = local, tenant

    def quotas(self) -> Wire:
        """See the interface."""
        return quotas(self._local, self._tenant)

    def verifications(self) -> list[Wire]:
        """See the interface."""
        return verifications(self._local, self._tenant)

    def verify(
        self, target: str | None = None, profile: str | None = None, progress: Progress = silent
    ) -> list[Wire]:
        """See the interface."""
        found = verify_targets(
            self._tenant, self._local.verify_tools, target=target, profile=profile, progress=progress
        )
        return [each.to_wire() for each in found]

    def chores(self) -> list[Wire]:
        """See the interface."""
        return [each.to_wire() for each in self._local.chores.all()]


def quotas(local: Local, tenant: str) -> Wire:
    """What a tenant may have, and has."""
    limits, runs = local.limits.limits(tenant), local.runs
    return {
        "tenant": tenant,
        "maxActiveRuns": limits.max_active_runs,
        "maxQueuedRuns": limits.max_queued_runs,
        "maxStorageBytes": limits.max_storage,
        "running": runs.count(tenant, RunStatus.RUNNING),
        "pending": runs.count(tenant, RunStatus.PENDING),
        "held": runs.count(tenant, RunStatus.HELD),
        "storedBytes": used(local.storage, tenant),
        "stores": [each.to_wire() for each in local.storage.stored(tenant)],
    }


def verifications(local: Local, tenant: str) -> list[Wire]:
    """What was last found at each target, and when a bundle there was last found sound."""
    found: list[dict[str, Any]] = []
    for check, sound_at in local.target_checks.all(tenant):
        sound = timestamps.render(sound_at) if sound_at else None
        found.append(check.to_wire() | {"soundAt": sound})
    return found
