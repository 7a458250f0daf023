"""What mirrors need from the outside."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from stellaops.core.digests import Digest
from stellaops.exports.ports import Staging
from stellaops.mirrors.domain import Domain, Side


class Domains(Protocol):
    """The domains of this installation; ids are unique in it."""

    def get(self, domain: str) -> Domain | None:
        """A domain by id, whoever's it is."""

    def every(self) -> Sequence[Domain]:
        """All of them, by id."""

    def put(self, domain: Domain) -> bool:
        """Store a domain over what was stored for it; whether anything changed.

        Raises:
            DomainTaken: the id belongs to another tenant.
        """

    def delete(self, tenant: str, domain: str) -> bool:
        """Forget a domain; whether it was there."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What was made the newest tree of a side, and when.

    Attributes:
        number: grows by one with each publication of the side to a place.
        sequence: of the newest snapshot that gave this tree.
        states: digest of all that decides the tree, as of then.
    """

    side: Side
    number: int
    export_id: str
    sequence: int
    states: Digest
    published_at: datetime


class Publications(Protocol):
    """The authoritative record of what is the newest; what readers follow is rendered from it.

    `place` names where a tree lies: a directory, or a bucket.
    """

    def current(self, place: str, side: Side) -> Publication | None:
        """The newest."""

    def add(self, place: str, publication: Publication) -> None:
        """Make a publication the newest.

        Raises:
            PublicationConflict: its number is not the next one.
        """

    def confirm(self, place: str, publication: Publication) -> None:
        """Note that the publication of this number is what a later snapshot gives too."""

    def superseded(self, place: str, side: Side, before: datetime) -> Sequence[str]:
        """Export ids that were the newest last before an instant, and are not now."""

    def forget(self, place: str, side: Side, export_id: str) -> None:
        """Take a superseded id out of the record."""

    def offered(self, side: Side) -> Collection[str]:
        """The domains that a side was ever published with, wherever to."""

    def offer(self, side: Side, domains: Collection[str]) -> None:
        """Note domains that a side is published with."""


class Root(Protocol):
    """A place that readers are served from. An id appears whole, or not at all."""

    @property
    def place(self) -> str:
        """Names it in the record of publications."""

    def has(self, side: Side, export_id: str) -> bool:
        """Whether the tree of an id is there, whole."""

    def latest(self, side: Side) -> str | None:
        """The id that readers follow."""

    def point(self, publication: Publication) -> None:
        """Let readers follow a publication, in one step."""

    def put_freshness(self, side: Side, domain: str, files: Mapping[str, bytes]) -> None:
        """Write a domain's freshness statement: the statement and its signature, by suffix."""

    def drop_freshness(self, side: Side, kept: Sequence[str]) -> None:
        """Remove the statements of domains that are not served any more."""

    def remove(self, side: Side, export_id: str) -> None:
        """Remove the tree of an id, if it is there."""


class DirectoryRoot(Root, Protocol):
    """A root in a directory, where trees are built."""

    def turn(self) -> AbstractContextManager[None]:
        """While it is held no other process works on the root.

        Raises:
            SyncRuns: another process does.
        """

    def stage(self, side: Side) -> AbstractContextManager[Staging]:
        """A place where a tree grows, removed at the end whatever happens."""

    def tree(self, side: Side, export_id: str) -> Path | None:
        """The directory of a whole tree."""

    def keep(self, side: Side, export_id: str, staging: Staging) -> None:
        """Give a finished tree its name, in one step, once it is on the disk."""


class Bucket(Root, Protocol):
    """A root in an object store, which trees are copied to."""

    def send(self, side: Side, export_id: str, tree: Path) -> int:
        """Copy a tree; bytes that were sent. What is there is not sent again."""
