"""What stands in the evidence store: documents, bills of materials, overlays, VEX."""

from __future__ import annotations

from functools import cached_property

from stellaops.adapters.sql.evidence import SqlEvidence
from stellaops.adapters.sql.findings import SqlAdvisories, SqlSboms
from stellaops.adapters.sql.imports import SqlImports
from stellaops.adapters.sql.inspection import SqlInspection
from stellaops.adapters.sql.policies import SqlPolicies
from stellaops.adapters.sql.projections import SqlProjections
from stellaops.adapters.sql.quarantine import SqlQuarantine
from stellaops.adapters.sql.records import SqlRecords
from stellaops.adapters.sql.sources import SqlSources
from stellaops.adapters.sql.vex_consensus import SqlConsensus
from stellaops.adapters.sql.vex_exports import SqlVexRows
from stellaops.bootstrap.base import Base
from stellaops.findings import find


class Evidence(Base):
    """What stands in the evidence store: documents, bills of materials, overlays, VEX."""

    @cached_property
    def sources(self) -> SqlSources:
        """The registry of sources."""
        return SqlSources(self.evidence_engine, self.data_dir / "locks")

    @cached_property
    def imports(self) -> SqlImports:
        """Staging and applying of imports."""
        return SqlImports(self.evidence_engine)

    @cached_property
    def sboms(self) -> SqlSboms:
        """Bills of materials."""
        return SqlSboms(self.evidence_engine)

    @cached_property
    def policies(self) -> SqlPolicies:
        """Policy overlays and snapshots."""
        return SqlPolicies(self.evidence_engine)

    @property
    def finding_tools(self) -> find.Tools:
        """What findings are worked out with."""
        return find.Tools(self.sboms, SqlAdvisories(self.evidence_engine), self.consensus)

    def bring_projections_up_to_date(self) -> None:
        """Make the derived rows that this release lacks."""
        SqlProjections(self.evidence_engine).complete()

    @cached_property
    def consensus(self) -> SqlConsensus:
        """VEX statements and their consensus, with every row that this release makes of them."""
        self.bring_projections_up_to_date()
        return SqlConsensus(self.evidence_engine)

    @cached_property
    def vex_rows(self) -> SqlVexRows:
        """VEX statements as exports read them."""
        return SqlVexRows(self.evidence_engine)

    @cached_property
    def inspection(self) -> SqlInspection:
        """A look into the evidence store that trusts nothing in it."""
        return SqlInspection(self.evidence_engine)

    @cached_property
    def quarantine(self) -> SqlQuarantine:
        """Records that could not be read."""
        return SqlQuarantine(self.evidence_engine)

    @cached_property
    def records(self) -> SqlRecords:
        """Look-ups of single documents."""
        return SqlRecords(self.evidence_engine)

    @cached_property
    def evidence(self) -> SqlEvidence:
        """The evidence as exports read it."""
        return SqlEvidence(self.evidence_engine)
