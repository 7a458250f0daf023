"""Records of runs, and where their bundles are built and kept."""

from __future__ import annotations

from functools import cached_property

from stellaops.adapters.files.workspace import FileWorkspace
from stellaops.adapters.objects.opening import open_artefacts
from stellaops.adapters.scanners.trivy import StockTrivy
from stellaops.adapters.sql.service import SqlProfiles, SqlRuns
from stellaops.adapters.sql.storage import SqlStorage
from stellaops.bootstrap.base import Base
from stellaops.exports.ports import ArtefactStore


class Bundles(Base):
    """Records of runs, and where their bundles are built and kept."""

    @cached_property
    def runs(self) -> SqlRuns:
        """Records of runs."""
        return SqlRuns(self.service_engine)

    @cached_property
    def profiles(self) -> SqlProfiles:
        """Stored profiles."""
        return SqlProfiles(self.service_engine)

    @cached_property
    def workspace(self) -> FileWorkspace:
        """Where bundles grow."""
        return FileWorkspace(self.data_dir / "exports")

    @cached_property
    def artefacts(self) -> ArtefactStore:
        """Where finished bundles are kept."""
        return open_artefacts(self.settings)

    @cached_property
    def storage(self) -> SqlStorage:
        """How much is kept."""
        return SqlStorage(self.service_engine)

    @cached_property
    def scanner(self) -> StockTrivy:
        """Stock Trivy."""
        return StockTrivy(self.settings.get("trivy"))
