"""What deltas need from the outside: what changed between two sequences, and the digest lists of earlier exports."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from stellaops.bundles.digest_list import DigestList
from stellaops.core.digests import Digest
from stellaops.exports.ports import Selection


@dataclass(frozen=True, slots=True)
class Change:
    """A key whose revisions began or ended between two sequences, and what is selected of it at the later one.

    Attributes:
        kind: `advisories`, `vex`, `artefacts` or `sboms`.
        gone: whether there is no revision any more: it has vanished.
        digest: of the document that is selected; None where none is.
        raw, index: its lines; `raw` of documents that travel as rows.
        stated_at: the newest instant that it states.
        stated_before, digest_before: of the document at the earlier sequence, selected or not.
        revisions: the ids of both.
    """

    owner: str
    source: str
    key: str
    kind: str
    gone: bool
    digest: str | None = None
    raw: bytes | None = None
    index: bytes | None = None
    stated_at: datetime | None = None
    stated_before: datetime | None = None
    digest_before: str | None = None
    revisions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceState:
    """What is selected of a source."""

    records: int
    updated_at: datetime | None


class ChangedRows(Protocol):
    """The evidence store as deltas read it: only rows that began or ended in an interval, in short transactions."""

    def touched(self, selection: Selection, base: int) -> int:
        """How many keys changed after a sequence and up to that of the selection, selected or not."""
        ...

    def changes(self, selection: Selection, base: int, *, lines: bool = True) -> Iterator[Change]:
        """These keys, by owner, source and key.

        Args:
            lines: whether they are wanted too.
        """
        ...

    def source_state(self, selection: Selection, source: str) -> SourceState | None:
        """What is selected of a source, from all of its rows; None for nothing."""
        ...

    def registered(self) -> dict[str, tuple[str, str]]:
        """Database and licence of each source."""
        ...

    def names_in(self, revisions: Collection[int]) -> set[str]:
        """Ids of vulnerabilities that documents are about or make statements on: their consensus may have moved."""
        ...


class GrowingList(Protocol):
    """A digest list that is being written."""

    @property
    def out(self) -> BinaryIO:
        """Its file."""
        ...

    def keep(self, digest: Digest) -> None:
        """Keep the list of a digest; without it the file is removed."""
        ...


class KeptLists(Protocol):
    """The digest lists of exports, by the digests that they give. A cache: what is missing is made again."""

    def opened(self, digest: Digest) -> AbstractContextManager[DigestList | None]:
        """A kept list; None where there is none that can be read."""
        ...

    def growing(self) -> AbstractContextManager[GrowingList]:
        """Write a list."""
        ...
