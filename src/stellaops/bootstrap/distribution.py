"""Where bundles are brought to, and whether they still lie there."""

from __future__ import annotations

from functools import cached_property

from stellaops.adapters.sql.target_checks import SqlTargetChecks
from stellaops.adapters.sql.target_latest import SqlLatest
from stellaops.adapters.sql.target_turns import SqlTurns
from stellaops.adapters.targets.context import TargetContext
from stellaops.adapters.targets.registry import SettingsTargets
from stellaops.bootstrap import clock
from stellaops.bootstrap.bundles import Bundles
from stellaops.bootstrap.keys import SigningKeys
from stellaops.exports.distribution.deliver import DeliverTools
from stellaops.exports.distribution.verify_targets import VerifyTools


class Distribution(Bundles, SigningKeys):
    """Where bundles are brought to, and whether they still lie there."""

    @cached_property
    def targets(self) -> SettingsTargets:
        """Places that bundles are brought to."""
        return SettingsTargets(self.settings.targets, self._target_context, SqlTurns(self.service_engine))

    @cached_property
    def latest_names(self) -> SqlLatest:
        """What the moving names of targets stand for."""
        return SqlLatest(self.service_engine)

    @property
    def delivery(self) -> DeliverTools:
        """What brings bundles to targets."""
        return DeliverTools(
            self.targets, self.latest_names, self.artefacts, clock.sleep, clock.chance, clock.now
        )

    def _target_context(self, tenant: str) -> TargetContext:
        scratch = self.data_dir / "exports" / ".staging"
        return TargetContext(tenant, self.web_settings, self.artefacts, self.tenant_keys, scratch, clock.now)

    @cached_property
    def target_checks(self) -> SqlTargetChecks:
        """What was last found at targets."""
        return SqlTargetChecks(self.service_engine)

    @property
    def verify_tools(self) -> VerifyTools:
        """What verification at targets works with."""
        return VerifyTools(
            self.runs, self.profiles, self.artefacts, self.targets, self.latest_names, self.target_checks,
            self.tenant_keys, self.scanner, self.workspace, clock.sleep, clock.now,
        )  # fmt: skip
