"""What retention needs from the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from stellaops.core import timestamps
from stellaops.exports.retention.rules import Pin, PinKind


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What was removed from the evidence.

    Attributes:
        floor: the oldest sequence whose state is whole.
        was: the same before.
    """

    floor: int
    was: int
    documents: int = 0
    tombstones: int = 0
    consensus: int = 0

    def to_wire(self) -> dict[str, int]:
        """As reports have it."""
        return {
            "floor": self.floor,
            "was": self.was,
            "documents": self.documents,
            "tombstones": self.tombstones,
            "consensus": self.consensus,
        }


class EvidenceFloor(Protocol):
    """How far back the evidence reaches."""

    def floor(self) -> int:
        """The oldest sequence whose state is whole; 0 where nothing was removed."""
        ...

    def mark(self, now: datetime) -> None:
        """Note the newest sequence of an instant."""
        ...

    def highest(self, before: datetime) -> int:
        """How far the floor may rise for all that is not a run: to what was the newest at an instant.

        Whoever began to read before that instant reads a state that stays, and so does what is worked out of changes.
        """
        ...

    def raise_to(self, sequence: int, now: datetime) -> Reclaimed:
        """Raise the floor, then remove what ended there or before, in short transactions.

        A floor that is higher already stays. What a pass that died has left is removed too.
        """
        ...


class Pins(Protocol):
    """Runs that retention leaves alone because somebody said so."""

    def pins(self, tenant: str) -> Sequence[Pin]:
        """Those of a tenant, by run."""
        ...

    def put(self, pin: Pin) -> None:
        """Set one; one of the same kind takes the new reason."""
        ...

    def remove(self, tenant: str, run_id: str, kind: PinKind) -> bool:
        """Take one away; whether it was there."""
        ...


class Turns(Protocol):
    """Who may decide about the bundles of a tenant. A turn ends with its process, however that ends."""

    def turn(self, tenant: str) -> AbstractContextManager[None]:
        """While it is held nobody else decides which bundles of a tenant are removed; waits for it.

        Raises:
            RetentionBusy: it was not to be had in time.
        """
        ...

    def alone(self) -> AbstractContextManager[bool]:
        """Whether no other pass is under way."""
        ...


class Lists(Protocol):
    """The digest lists that are kept for deltas."""

    def sweep(self) -> int:
        """Remove those that nobody has used for long; how many."""
        ...


class Tenants(Protocol):
    """Whose runs there are."""

    def with_runs(self) -> Sequence[str]:
        """Tenants that have runs, by name."""
        ...


@dataclass(frozen=True, slots=True)
class Pruned:
    """Bundles that were removed, as the metric counts them."""

    tenant: str
    profile: str
    kind: str
    number: int


class Passes(Protocol):
    """What passes of retention have done."""

    def count(self, pruned: Sequence[Pruned]) -> None:
        """Count what was removed."""
        ...

    def note(self, now: datetime, report: Mapping[str, Any], *, ok: bool) -> None:
        """Keep the report of a pass that has ended."""
        ...

    def last(self) -> LastPass | None:
        """The last one that has."""
        ...


@dataclass(frozen=True, slots=True)
class LastPass:
    """A pass that has ended.

    Attributes:
        succeeded_at: when one last did what it was to do.
    """

    at: datetime
    succeeded_at: datetime | None
    report: Mapping[str, Any] = field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        """As scripts read it."""
        return {
            "at": timestamps.render(self.at),
            "succeededAt": timestamps.render(self.succeeded_at) if self.succeeded_at else None,
            "report": dict(self.report),
        }
