"""What syncing a mirror needs from the outside."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from stellaops.exports.ports import Staging
from stellaops.mirrors.domain import Side
from stellaops.mirrors.ports import DirectoryRoot

Members = Callable[[Path, Collection[str], int], Iterator[tuple[str, bytes]]]
"""Files of a zip archive on disk by the names that are wanted, with the bytes that one has at most; broken ones, and
all behind a place where the archive is broken, are left out. Nobody has said yet that they are right."""


class TreeSource(Protocol):
    """Where a published tree is read from; nothing that it says is believed without a signature.

    Every method raises `SourceUnreachable` where it gets no answer, or a refusal.
    """

    @property
    def place(self) -> str:
        """Names it for people."""

    def domains(self, side: Side) -> Sequence[str]:
        """The domains of a side, as far as the source tells."""

    def latest(self, side: Side, domain: str) -> str | None:
        """The export id that readers of a domain follow; None where the side is not published."""

    def small(self, side: Side, path: str, most: int) -> bytes | None:
        """A small file below the folder of a side; None where there is none.

        Args:
            most: bytes that it may have.
        """

    def ahead(self, side: Side, paths: Sequence[str], scratch: Path) -> None:
        """Told of the files that will be asked for next, so that a source may bring them together.

        Args:
            scratch: a directory on the destination's disk, which outlives a sync that is interrupted.
        """

    def pieces(self, side: Side, path: str) -> Iterator[bytes]:
        """A file below the folder of a side, piece by piece."""


class Destination(DirectoryRoot, Protocol):
    """A directory that a mirror is synced into."""

    def gather(self, side: Side, export_id: str) -> AbstractContextManager[Staging]:
        """A place where the tree of an id is gathered; what an earlier attempt left there is still there.

        It stays when the attempt fails, until another id is gathered.
        """

    def replace(self, side: Side, export_id: str, staging: Staging) -> None:
        """As `keep`, over a tree of the same id that is there."""

    def switch(self, side: Side, export_id: str) -> None:
        """Let readers follow an id, in one step."""

    def members(self, archive: Path, names: Collection[str], most: int) -> Iterator[tuple[str, bytes]]:
        """See `Members`."""

    def ids(self, side: Side) -> Sequence[str]:
        """Export ids of the trees that are there."""

    def domains(self, side: Side, export_id: str) -> Collection[str]:
        """The domains that the tree of an id has."""

    def freshness(self, side: Side, domain: str) -> bytes | None:
        """The freshness statement that came with a domain last."""

    def put_waiting(self, side: Side, domain: str, files: Mapping[str, bytes]) -> None:
        """Keep the statement of a domain, as `put_freshness`, whose tree is not followed yet."""

    def waiting(self, side: Side, domain: str) -> Mapping[str, bytes]:
        """The statement of a domain that waits and its signature, by suffix; empty where none does."""

    def drop_waiting(self, side: Side, kept: Sequence[str]) -> None:
        """Remove the statements that wait, but for those of some domains."""

    def note_synced(self, side: Side, domain: str, state: bytes) -> None:
        """Note beside the trees that a domain was synced."""

    def synced(self, side: Side, domain: str) -> bytes | None:
        """What was noted of a domain last."""

    def noted(self, side: Side) -> Collection[str]:
        """The domains that something was noted of."""

    def drop_synced(self, side: Side, kept: Sequence[str]) -> None:
        """Forget the notes about other domains."""

    def retire(self, side: Side, export_id: str, now: datetime) -> None:
        """Note that an id is not followed any more."""

    def retired(self, side: Side, before: datetime) -> Collection[str]:
        """Ids that have not been followed since before an instant."""

    def file(self, side: Side, export_id: str, path: str) -> Path:
        """Where a file of a tree is, or would be."""
