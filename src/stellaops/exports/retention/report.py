"""What a pass of retention tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stellaops.core import timestamps
from stellaops.exports.retention.ports import Reclaimed
from stellaops.exports.retention.rules import Judged, Pin
from stellaops.exports.run import Archive


@dataclass(frozen=True, slots=True)
class RemovedArchive:
    """An archive that was removed, or would be.

    Attributes:
        runs: ids of those that had it, the newest first.
        bytes: with its signatures; 0 where a pass before had removed it.
    """

    tenant: str
    profile: str
    kind: str
    archive: Archive
    runs: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class RemovedAtTarget:
    """A bundle at a target that was removed there, or would be, or why not."""

    tenant: str
    run_id: str
    target: str
    reference: str
    removed: bool
    detail: str = ""


@dataclass
class Report:
    """A pass: what went and why, and what could not be done.

    Attributes:
        dry: whether nothing was removed.
        lists: digest lists that were removed.
        failures: a sentence each; the rest of the pass was done all the same.
    """

    at: datetime
    dry: bool
    expired: list[Judged] = field(default_factory=list)
    archives: list[RemovedArchive] = field(default_factory=list)
    targets: list[RemovedAtTarget] = field(default_factory=list)
    lists: int = 0
    evidence: Reclaimed | None = None
    failures: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything was done."""
        return not self.failures

    def to_wire(self) -> dict[str, Any]:
        """As scripts read it."""
        return {
            "at": timestamps.render(self.at),
            "dryRun": self.dry,
            "ok": self.ok,
            "expired": judged_wire(self.expired),
            "archives": [
                {
                    "tenant": each.tenant,
                    "profile": each.profile,
                    "kind": each.kind,
                    "exportId": each.archive.export_id,
                    "archiveId": each.archive.archive_id,
                    "runs": list(each.runs),
                    "bytes": each.bytes,
                }
                for each in self.archives
            ],
            "bytes": sum(each.bytes for each in self.archives),
            "targets": [
                {
                    "tenant": each.tenant,
                    "runId": each.run_id,
                    "target": each.target,
                    "reference": each.reference,
                    "removed": each.removed,
                    "detail": each.detail or None,
                }
                for each in self.targets
            ],
            "lists": self.lists,
            "evidence": None if self.evidence is None else self.evidence.to_wire(),
            "failures": list(self.failures),
        }

    def counts(self) -> Mapping[str, Any]:
        """What is kept of it: numbers, and what could not be done."""
        wire = self.to_wire()
        return wire | {name: len(wire[name]) for name in ("expired", "archives", "targets")}


def judged_wire(runs: Iterable[Judged]) -> list[dict[str, Any]]:
    """Runs with the reason why their bundles stay or go."""
    return [
        {
            "tenant": run.tenant,
            "runId": run.id,
            "profile": run.profile,
            "kind": run.kind,
            "exportId": run.export_id,
            "archiveId": run.archive_id,
            "sequence": run.sequence,
            "bytes": run.bytes,
            "finishedAt": timestamps.render(run.finished_at) if run.finished_at else None,
            "why": each.why,
        }
        for each in runs
        for run in [each.run]
    ]


def pin_wire(pin: Pin) -> dict[str, Any]:
    """A pin as scripts read it."""
    return {
        "runId": pin.run_id,
        "kind": pin.kind.value,
        "reason": pin.reason,
        "by": pin.set_by,
        "at": timestamps.render(pin.set_at),
    }
