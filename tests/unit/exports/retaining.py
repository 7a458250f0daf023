"""A data directory whose bundles grow old: runs as a user makes them, and passes of retention at any day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stellaops.exports.distribution.ports import Targets
from stellaops.exports.errors import BundleGone
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.manage_runs import opened
from stellaops.exports.plan_run import RunRequest, Tools
from stellaops.exports.ports import Selection
from stellaops.exports.retention.pin_runs import PinTools
from stellaops.exports.retention.prune_exports import RetentionTools, prune_exports
from stellaops.exports.retention.report import Report
from stellaops.exports.retention.rules import Rule, holds_bundle
from stellaops.exports.run import Run
from stellaops.exports.run_export import run_export
from stellaops.exports.selectors import Selectors
from stellaops.kit.verify import verify_bundle
from tests.unit.exports.executing import TENANT, Service, document

__all__ = ["TENANT", "Keeper", "document"]

FIRST_DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Keeper(Service):
    """Runs, passes and a calendar."""

    day: int = 0
    rules: Mapping[str, Rule] | None = None
    targets: Targets | None = None

    def now(self) -> datetime:
        self._looks += 1
        return FIRST_DAY + timedelta(days=self.day, milliseconds=self._looks)

    @property
    def tools(self) -> Tools:
        return replace(self.local.export_tools, now=self.now)

    @property
    def retention(self) -> RetentionTools:
        found = replace(self.local.retention_tools, now=self.now, grace=timedelta(0))
        if self.rules is not None:
            found = replace(found, rules=self.rules)
        return found if self.targets is None else replace(found, targets=self.targets)

    @property
    def pins(self) -> PinTools:
        return replace(self.local.pin_tools, now=self.now)

    def make(self, profile: str = "json:raw", **more: Any) -> Run:
        """Run an export to its end."""
        recipe = find_profile(TENANT, profile, self.local.profiles)
        self._ids += 1
        request = RunRequest(f"run-{self._ids:03d}", TENANT, recipe, {}, **{"allow_empty": True, **more})
        return run_export(request, self.tools)

    def prune(self, *, dry_run: bool = False) -> Report:
        """One pass. The mark of this moment counts at once."""
        if not dry_run:
            self.retention.evidence.mark(self.now())
        return prune_exports(self.retention, dry_run=dry_run)

    def is_there(self, run: Run) -> bool:
        """Whether a run's bundle can be read, and is sound."""
        trusted, revoked = self.local.tenant_keys.trusted(TENANT)
        try:
            with opened(self.run(run.id), self.local.artefacts) as root:
                return verify_bundle(root, trusted, revoked=revoked).verdict == "ok"
        except BundleGone:
            return False

    def kept(self) -> list[str]:
        """The ids of runs whose bundles are there, oldest first; the store of artefacts has no other."""
        holders = [run for run in self.local.runs.list(TENANT) if holds_bundle(run)]
        assert {self.folder(run) for run in holders} == set(self.folders())
        assert all(self.is_there(run) for run in holders)
        return sorted(run.id for run in holders)

    def folders(self) -> list[Path]:
        """What lies in the store of artefacts."""
        root = self.directory / "data" / "exports"
        return [path for path in root.glob("*/*") if not path.parent.name.startswith(".")]

    def folder(self, run: Run) -> Path:
        """Where a run's bundle lies."""
        assert run.archive is not None
        return self.directory / "data" / "exports" / run.archive.export_id / run.archive.archive_id

    def snapshot(self, run: Run) -> str:
        """The digest of what a run selected, as the evidence has it now."""
        recipe = find_profile(TENANT, run.chain.of if run.chain else run.profile, self.local.profiles)
        selection = Selection(TENANT, run.sequence or 0, Selectors(), recipe.included)
        return self.local.evidence.snapshot(selection).digest
