"""What runs work with, from their plan to their delivery."""

from __future__ import annotations

from functools import cached_property

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.changes import SqlChanges
from stellaops.adapters.sql.findings import selected_findings
from stellaops.adapters.sql.freshness import SqlFreshness
from stellaops.adapters.sql.projections import SqlProjections
from stellaops.bootstrap import clock
from stellaops.bootstrap.authority import Authority
from stellaops.bootstrap.evidence import Evidence
from stellaops.bootstrap.retention import Retention
from stellaops.exports.building.delta_snapshot import DeltaTools
from stellaops.exports.control_runs import ControlTools
from stellaops.exports.issue_freshness import FreshnessTools
from stellaops.exports.plan_run import Tools


class Exports(Retention, Evidence, Authority):
    """What runs work with, from their plan to their delivery."""

    @property
    def control_tools(self) -> ControlTools:
        """What controls of runs work with, where there is no queue."""
        return ControlTools(
            self.runs, self.artefacts, None, clock.now, self.bundle_turns, self.pins, self.targets
        )

    @property
    def delta_tools(self) -> DeltaTools:
        """What deltas work with beside all that."""
        return DeltaTools(SqlChanges(self.evidence_engine), self.kept_lists, self.evidence)

    @cached_property
    def statements(self) -> SqlFreshness:
        """Freshness statements."""
        return SqlFreshness(self.service_engine)

    @property
    def freshness_tools(self) -> FreshnessTools:
        """What freshness statements are made with."""
        evidence = self.evidence
        return FreshnessTools(
            self.statements, evidence.read_states, self.tenant_keys, self.profiles, clock.now
        )

    @property
    def export_tools(self) -> Tools:
        """Everything that a run works with."""
        return Tools(
            evidence=self.evidence,
            rows=self.evidence,
            trivy=self.evidence,
            java=self.evidence,
            vex=self.vex_rows,
            findings=lambda selection: selected_findings(self.evidence_engine, selection),
            policies=self.policies,
            projections=SqlProjections(self.evidence_engine),
            profiles=self.profiles,
            runs=self.runs,
            workspace=self.workspace,
            artefacts=self.artefacts,
            keys=self.tenant_keys,
            scanner=self.scanner,
            deltas=self.delta_tools,
            turns=self.bundle_turns,
            freshness=self.freshness_tools,
            delivery=self.delivery,
            projection_versions=schema.VERSIONS,
            wrapping=self.key_services,
            limits=self.limits,
            storage=self.storage,
            now=clock.now,
        )
