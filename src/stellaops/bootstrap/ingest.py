"""What fetches documents from their publishers."""

from __future__ import annotations

import threading
from functools import cached_property

from stellaops.adapters.keys.openpgp import SequoiaOpenPgp, read_keys
from stellaops.adapters.sql.pulls import SqlPulls
from stellaops.adapters.web.client import WebClient
from stellaops.adapters.web.download import FileSpools, Network
from stellaops.bootstrap import clock
from stellaops.bootstrap.evidence import Evidence
from stellaops.ingest.pull import PullTools


class Ingest(Evidence):
    """What fetches documents from their publishers."""

    @cached_property
    def pulls(self) -> SqlPulls:
        """Definitions of sources, and what their pulls left behind."""
        return SqlPulls(self.evidence_engine)

    def pull_tools(self, parallel: int | None = None) -> PullTools:
        """Everything that pulls work with.

        Args:
            parallel: downloads at once; by the settings when None.
        """
        at_once = parallel or self.settings.number("pull.parallel")
        network = Network(
            WebClient(self.web_settings, connections=at_once),
            clock.now,
            clock.sleep,
            clock.chance,
            threading.Semaphore(at_once),
            self.settings.number("pull.maxFileSize"),
        )
        spools = FileSpools(self.data_dir / "pulls", network)
        return PullTools(
            self.pulls,
            spools,
            self.sources,
            self.imports,
            clock.now,
            clock.chance,
            at_once,
            openpgp=self.openpgp,
            keys_of=lambda definition: read_keys(definition.openpgp_keys),
        )

    @cached_property
    def openpgp(self) -> SequoiaOpenPgp:
        """What checks OpenPGP signatures."""
        return SequoiaOpenPgp()
