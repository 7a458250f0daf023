"""What findings need from the outside."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from stellaops.advisories.aliases import Statement
from stellaops.core.digests import Digest
from stellaops.matching.lookup import Lookup
from stellaops.matching.match import Row
from stellaops.policy.overlay import Overlay
from stellaops.policy.snapshot import Snapshot
from stellaops.sboms.component import Component, Platform
from stellaops.vex.consensus import Held


class StoredSbom(Struct, frozen=True):
    """A current bill of materials."""

    source: str
    key: str
    digest: str
    path: str
    subject: str
    form: str
    platform: Platform | None
    components: int
    fetched_at: datetime
    revision: int


class StoredSnapshot(Struct, frozen=True):
    """A policy snapshot that was taken.

    Attributes:
        sequence: of the evidence when it was first taken.
    """

    digest: Digest
    taken_at: datetime
    sequence: int


class Parts(Struct, frozen=True):
    """What a bill of materials lists.

    Attributes:
        parents: by the number of a component, the numbers of those that contain it or depend on it.
    """

    components: tuple[Component, ...]
    parents: Mapping[int, tuple[int, ...]] = {}


class Sboms(Protocol):
    """The bills of materials of tenants."""

    def sboms(
        self, tenant: str, wanted: str | None = None, sequence: int | None = None
    ) -> Sequence[StoredSbom]:
        """Those of a tenant, in the order of their keys.

        Args:
            wanted: only those of this subject, key or path.
        """
        ...

    def parts(self, sbom: StoredSbom) -> Parts:
        """What one lists."""
        ...


class Advisories(Protocol):
    """Advisories as they are matched, at one sequence (the present one for None)."""

    def rows(
        self, places: Collection[Lookup], tenant: str, sequence: int | None = None
    ) -> Mapping[tuple[str, str], Sequence[Row]]:
        """The rows of some places, by bucket and package as the places name them."""
        ...

    def severities(
        self, vulnerabilities: Collection[str], tenant: str, sequence: int | None = None
    ) -> Mapping[str, Mapping[str, int]]:
        """How severe documents call vulnerabilities: by vulnerability, then by `source⇥key` in merge order."""
        ...

    def rejected(
        self, vulnerabilities: Collection[str], tenant: str, sequence: int | None = None
    ) -> Collection[str]:
        """Those of some ids that are void."""
        ...


class Statements(Protocol):
    """VEX statements, and what documents say about ids."""

    def statements(
        self,
        names: Collection[str],
        tenant: str,
        *,
        sequence: int | None = None,
        packages: Collection[str] | None = None,
    ) -> Sequence[Held]:
        """The statements about vulnerabilities of these names, and products of these packages."""
        ...

    def links(self, names: Collection[str], tenant: str, sequence: int | None = None) -> Sequence[Statement]:
        """What documents say about ids."""
        ...


class Policies(Protocol):
    """The overlays and snapshots of tenants."""

    def overlays(self, tenant: str, sequence: int | None = None) -> Sequence[Overlay]:
        """The overlays of a tenant."""
        ...

    def keep(self, tenant: str, snapshot: Snapshot, taken_at: datetime) -> None:
        """Keep a snapshot; one that is there stays as it is."""
        ...

    def snapshot(self, tenant: str, digest: str) -> Snapshot | None:
        """A snapshot that was taken; None where there is none of this digest."""
        ...

    def snapshots(self, tenant: str) -> Sequence[StoredSnapshot]:
        """All, the newest last."""
        ...
