"""What exports need from the outside."""

from stellaops.exports.ports.bundles import ArtefactStore, Staging, StoredFile, Workspace
from stellaops.exports.ports.evidence import (
    Evidence,
    JavaRows,
    Projections,
    RowSource,
    Selection,
    Snapshot,
    StoredBill,
    TrivyRows,
)
from stellaops.exports.ports.runs import (
    EVERY_RUN,
    Limits,
    Profiles,
    Queue,
    QueueStatus,
    RunFilter,
    RunLimits,
    Runs,
    Worker,
)
from stellaops.exports.ports.tools import Keys, Scanner, Wrapping

__all__ = [
    "EVERY_RUN",
    "ArtefactStore",
    "Evidence",
    "JavaRows",
    "Keys",
    "Limits",
    "Profiles",
    "Projections",
    "Queue",
    "QueueStatus",
    "RowSource",
    "RunFilter",
    "RunLimits",
    "Runs",
    "Scanner",
    "Selection",
    "Snapshot",
    "Staging",
    "StoredBill",
    "StoredFile",
    "TrivyRows",
    "Worker",
    "Workspace",
    "Wrapping",
]
