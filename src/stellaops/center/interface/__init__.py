"""What can be asked of StellaOps, wherever it is: the data directory of this machine, or a server.

Every answer is what scripts read (docs/reference), so that the one and the other look the same to whoever asked.
Whatever fails raises the same `StellaError` with the same code here and there.
"""

from __future__ import annotations

from typing import Protocol

from stellaops.center.interface.authority import Authority, Keys
from stellaops.center.interface.exports import Exports, Queue, RunFailed, Submission
from stellaops.center.interface.ingest import (
    Concelier,
    ConsensusWanted,
    Excititor,
    ImportWanted,
    Ingest,
    PullWanted,
)
from stellaops.center.interface.notify import DeliveriesWanted, Notify
from stellaops.center.interface.progress import Progress, silent
from stellaops.center.interface.tenant import Evidence, FindingsWanted, Policies
from stellaops.center.interface.upkeep import Downloads, Retention, Upkeep

__all__ = [
    "Authority",
    "Center",
    "Concelier",
    "ConsensusWanted",
    "DeliveriesWanted",
    "Downloads",
    "Evidence",
    "Excititor",
    "Exports",
    "FindingsWanted",
    "ImportWanted",
    "Ingest",
    "Keys",
    "Notify",
    "Policies",
    "Progress",
    "PullWanted",
    "Queue",
    "Retention",
    "RunFailed",
    "Submission",
    "Upkeep",
    "silent",
]


class Center(Protocol):
    """Everything that can be asked."""

    @property
    def concelier(self) -> Concelier:
        """Advisories."""
        ...

    @property
    def excititor(self) -> Excititor:
        """VEX."""
        ...

    @property
    def policies(self) -> Policies:
        """Policy overlays."""
        ...

    @property
    def evidence(self) -> Evidence:
        """Bills of materials."""
        ...

    @property
    def exports(self) -> Exports:
        """Profiles, runs and bundles."""
        ...

    @property
    def upkeep(self) -> Upkeep:
        """What looks after bundles."""
        ...

    @property
    def retention(self) -> Retention:
        """How long bundles are kept."""
        ...

    @property
    def downloads(self) -> Downloads:
        """Download tokens and links."""
        ...

    @property
    def notify(self) -> Notify:
        """Who is told of what."""
        ...

    @property
    def queue(self) -> Queue:
        """The queue of runs."""
        ...

    @property
    def authority(self) -> Authority:
        """Who may use the service, and how much."""
        ...

    @property
    def keys(self) -> Keys:
        """Keys that sign exports."""
        ...
