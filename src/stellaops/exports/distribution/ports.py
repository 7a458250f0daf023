"""What distribution needs from the outside: places that bundles are brought to, and whoever keeps their turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from stellaops.exports.run import Archive

Told = Callable[[str, Mapping[str, Any]], None]
"""Is told of progress: an event's word and what belongs to it."""


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A file of a bundle root: `path` inside it, lower-case hexadecimal SHA-256, size in bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified bundle on its way to a target.

    Attributes:
        root: the bundle root as a directory, for as long as the delivery takes.
        archive: names it; equal archives are equal bundles, but for their signatures.
        kind: `kind:variant`.
        profile: its name.
        generated_at: the newest instant that the content states; what dates are made of.
        sequence: of the snapshot; the larger is the newer.
        files: every file below `root`, by path.
        options: what the profile says to this target, checked by `Target.check`.
        key: which of the tenant's keys signs what the target makes of the bundle; the active one where None.
    """

    tenant: str
    profile: str
    kind: str
    archive: Archive
    generated_at: datetime
    sequence: int
    root: Path
    files: tuple[DeliveredFile, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of a delivery.

    Attributes:
        reference: names the bundle at the target by its content: a URL, or `registry/repository@sha256:…`.
        sent: bytes that were sent; 0 where the target had everything.
    """

    reference: str
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """A bundle as a run's record names it: enough to find it at a target again.

    Attributes:
        reference: as `Delivered.reference` said.
    """

    tenant: str
    profile: str
    kind: str
    archive: Archive
    reference: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Target(Protocol):
    """A place that verified bundles are copied to.

    Every method may be called again after it failed or its process died: it goes on, and what is there is not sent
    twice. Errors are `DependencyFailed` where a later attempt may work (`DistributionFailed` with the reason; who tells
    of it names the target), `MissingPrerequisite` or `NotPermitted` where an operator has to act. Nothing secret stands
    in them.
    """

    @property
    def name(self) -> str:
        """As settings and profiles name it."""

    @property
    def driver(self) -> str:
        """One of `exports.profile.DRIVERS`."""

    def check(self, options: Mapping[str, Any]) -> Sequence[str]:
        """What is wrong with a profile's settings for this target, a sentence each."""

    def deliver(self, delivery: Delivery, told: Told) -> Delivered:
        """Bring a bundle there under names that its content gives: blobs first, then what refers to them.

        Names that move are left alone.
        """

    def point(self, delivery: Delivery, delivered: Delivered) -> None:
        """Let the moving names (`latest`, the schema's number …) name a delivered bundle, in one step each.

        The caller has the target's turn and knows that nothing newer was delivered; the target refuses all the same
        to go back behind what it has itself, where it can tell.

        Raises:
            TargetIsNewer: it refuses; the bundle is there, and the names stay.
        """

    def fetch(self, kept: Kept, into: Path) -> None:
        """Get a bundle as its users do, by its reference, into an empty directory, which is then the bundle root.

        Raises:
            DistributionFailed: it is not there, or not whole.
            VerifyFailed: the target's own signature of it is by no key of the tenant.
        """

    def newest(self, kept: Kept) -> str | None:
        """The reference that the moving names have at present for the bundle's profile; None where they name none.

        Raises:
            DistributionFailed: they stand for the bundle, but for one that stands for something else.
        """

    def remove(self, kept: Kept) -> bool:
        """Remove a bundle that no moving name stands for; whether it is gone. False where a target cannot remove."""

    def probe(self) -> Mapping[str, Any]:
        """Send a small thing, read it back, remove it: `{"reference", "seconds", "remarks": [...]}`."""


@dataclass(frozen=True, slots=True)
class Pointed:
    """What the moving names of a target were last told to stand for, for one profile of a tenant.

    Attributes:
        sequence: of the snapshot.
        submitted_at: of the run; of equal sequences the later one is the newer.
        at: when the names were told.
    """

    target: str
    tenant: str
    profile: str
    run_id: str
    sequence: int
    submitted_at: datetime
    reference: str
    at: datetime

    def is_newer_than(self, other: Pointed) -> bool:
        """Whether the names must not go from this one to the other."""
        mine, theirs = ((each.sequence, each.submitted_at, each.run_id) for each in (self, other))
        return mine > theirs


class LatestNames(Protocol):
    """What moving names stand for at all targets. Written by whoever has the target's turn, before names move."""

    def of(self, target: str, tenant: str, profile: str) -> Pointed | None:
        """For one profile; None where its names never moved."""

    def note(self, pointed: Pointed) -> None:
        """Keep what names are about to stand for."""

    def all(self, tenant: str) -> Sequence[Pointed]:
        """For all of a tenant's profiles, by target and profile."""


class Turn(Protocol):
    """The turn at a target, while it is held."""

    def demand(self) -> None:
        """See that it is still held: a process that was stopped for long may have lost it to another.

        Raises:
            DistributionFailed: it was lost.
        """


class Targets(Protocol):
    """The targets of this installation."""

    def names(self, tenant: str) -> Sequence[str]:
        """Those that a tenant's profiles may name, `http` among them."""

    def target(self, tenant: str, name: str) -> Target:
        """One of them.

        Raises:
            TargetNotFound: there is none of this name for the tenant.
            MissingPrerequisite: its settings, its secret or its library are missing.
        """

    def turn(self, name: str, tenant: str) -> AbstractContextManager[Turn]:
        """While it is held nobody else brings anything to the target, on any machine; waits for it.

        Raises:
            DistributionFailed: it was not to be had in time.
        """
