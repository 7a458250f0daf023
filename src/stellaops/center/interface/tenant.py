"""What a tenant brings in itself, its rules, and what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stellaops.center.interface.progress import Progress, silent
from stellaops.center.wire import Wire


@dataclass(frozen=True, slots=True)
class FindingsWanted:
    """Which findings.

    Attributes:
        sbom: of this subject, key or path only.
        policy_snapshot: by digest; also `latest` and `none`.
        sequence: the evidence as of then; the present one when None.
        weights: a document with the weights of issuers of VEX.
    """

    sbom: str | None = None
    policy_snapshot: str = "latest"
    sequence: int | None = None
    weights: bytes | None = None


class Policies(Protocol):
    """Overlays of the tenant and their snapshots."""

    def apply(self, paths: Sequence[Path], *, prune: bool = False) -> Wire:
        """Make overlays the tenant's; with one mistake in any, nothing is applied."""
        ...

    def snapshot(self, *, at: str | None = None, keep: bool = True) -> Wire:
        """Take a snapshot of the rules in force at an instant, the present one when None."""
        ...

    def overview(self) -> Wire:
        """The overlays that are applied and the snapshots that were taken."""
        ...

    def show(self, wanted: str) -> Wire:
        """The rules of a snapshot, by digest or `latest`."""
        ...

    def raw(self, wanted: str) -> bytes:
        """The canonical bytes that a snapshot's digest is of."""
        ...


class Evidence(Protocol):
    """What a tenant brings in itself, and what is found in it."""

    def import_sboms(
        self, paths: Sequence[Path], *, prune: bool = False, progress: Progress = silent
    ) -> Wire:
        """Import bills of materials; what the import did."""
        ...

    def sboms(self) -> list[Wire]:
        """The tenant's bills of materials."""
        ...

    def findings(self, wanted: FindingsWanted) -> Wire:
        """What they are vulnerable to, and why."""
        ...
