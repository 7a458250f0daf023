"""How long bundles are kept."""

from __future__ import annotations

from functools import cached_property

from stellaops.adapters.files.kept_lists import FileKeptLists
from stellaops.adapters.settings.retention import retention_grace, retention_rules
from stellaops.adapters.sql.pruning import SqlEvidenceFloor
from stellaops.adapters.sql.retention import SqlBundleTurns, SqlPasses, SqlPins
from stellaops.bootstrap import clock
from stellaops.bootstrap.distribution import Distribution
from stellaops.exports.retention.pin_runs import PinTools
from stellaops.exports.retention.prune_exports import RetentionTools


class Retention(Distribution):
    """How long bundles are kept."""

    @cached_property
    def pins(self) -> SqlPins:
        """Runs that retention leaves alone."""
        return SqlPins(self.service_engine)

    @cached_property
    def bundle_turns(self) -> SqlBundleTurns:
        """Who decides about the bundles of tenants."""
        return SqlBundleTurns(self.service_engine, self.data_dir / "locks")

    @property
    def pin_tools(self) -> PinTools:
        """What pins of runs work with."""
        return PinTools(self.runs, self.pins, self.bundle_turns, clock.now)

    @property
    def retention_tools(self) -> RetentionTools:
        """What passes of retention work with."""
        passes = SqlPasses(self.service_engine)
        return RetentionTools(
            runs=self.runs,
            profiles=self.profiles,
            artefacts=self.artefacts,
            pins=self.pins,
            turns=self.bundle_turns,
            evidence=SqlEvidenceFloor(self.evidence_engine),
            lists=self.kept_lists,
            passes=passes,
            tenants=passes,
            targets=self.targets,
            latest=self.latest_names,
            rules=retention_rules(self.settings),
            grace=retention_grace(self.settings),
            now=clock.now,
        )

    @property
    def kept_lists(self) -> FileKeptLists:
        """Lists of what kept bundles hold."""
        return FileKeptLists(self.data_dir / "lists")
