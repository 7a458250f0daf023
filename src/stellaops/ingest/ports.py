"""What the import use cases need from the outside."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from stellaops.advisories.aliases import Statement
from stellaops.ingest.model import (
    Batch,
    ImportReport,
    Job,
    Quarantined,
    Source,
    SourceStatus,
    StoredRecord,
)

Wanted: TypeAlias = Callable[[str], bool]
"""Whether the file at a path is to be read."""


class Member(Struct, frozen=True):
    """One file of an import, out of a folder or out of an archive.

    Attributes:
        path: relative to the import root; archives are transparent.
        content: its bytes; empty where `problem` says why they could not be had.
        container_url: where the enclosing container stands.
        container_digest: None when the member is itself the container (a plain file).
        offset: where `content` begins in the file at `path`, when it is a part of it (a record tried again).
        context: what its file said around such a part; None for a whole file.
        fetched_at: when its container was fetched, in microseconds since 1970; None for the time of the import.
        checked: what was found by hashes and signatures beside it (JSON); empty where there were none.
        hashes: the algorithms of stated hashes that a pull has compared it with.
        taken_back: whether the upstream says that it has deleted the file: then it is read as if it were not there.
    """

    path: str
    content: bytes
    container_url: str
    container_digest: str | None
    container_size: int
    problem: str = ""
    offset: int = 0
    context: str | None = None
    fetched_at: int | None = None
    checked: str = ""
    hashes: tuple[str, ...] = ()
    taken_back: bool = False


class Inputs(Protocol):
    """The files to import, always in the same order."""

    def fingerprint(self) -> str:
        """Identifies the inputs, so that an interrupted import of the same inputs can go on."""
        ...

    def members(self, skip: int = 0) -> Iterator[Member]:
        """The files, from the given place on."""
        ...


@runtime_checkable
class Choosable(Protocol):
    """Inputs that can pass over files without reading them."""

    def wanted_members(self, wanted: Wanted) -> Iterator[Member]:
        """The files whose paths are wanted, in the order of all.

        Args:
            wanted: asked once about each path; what it says may change on the way.
        """
        ...


class Keyring(Protocol):
    """OpenPGP keys that signatures are checked by."""

    def trouble(self, content: bytes, signature: bytes) -> str:
        """What is wrong with a detached signature of a content; empty where it is good and by one of the keys."""
        ...


class OpenPgp(Protocol):
    """Reads OpenPGP keys."""

    def keyring(self, keys: Sequence[bytes], only: frozenset[str] | None = None) -> Keyring | None:
        """The keys in some files, armoured or not.

        Args:
            only: upper-case fingerprints: other keys are left out, and files that hold no key are passed over.

        Returns:
            None where nothing is left, with `only`.

        Raises:
            StellaError: without `only`: a file holds no key.
        """
        ...


class Sources(Protocol):
    """The registry of sources."""

    def find(self, name: str) -> Source | None:
        """A source by name."""
        ...

    def listings(self, name: str) -> Mapping[str, str]:
        """The dates of the newest complete listings that a source has taken in, by their scopes."""
        ...

    def note_listings(self, name: str, listings: Mapping[str, str]) -> None:
        """Keep the dates of listings that have become visible; at least one."""
        ...

    def status(self, tenant: str) -> tuple[int, list[SourceStatus]]:
        """The current sequence, and one line for each source."""
        ...

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Hold a source for one import; another holder is an error that names it."""
        ...


class ImportStore(Protocol):
    """Staging and applying of imports. Every call is one transaction (or several, each leaving a valid state)."""

    def begin(self, source: Source, fingerprint: str, now: datetime, *, retry: bool = False) -> Job:
        """Start an import, or go on with the interrupted one of the same inputs."""
        ...

    def stage(self, job: Job, batch: Batch) -> None:
        """Put records aside; nothing of them is visible yet."""
        ...

    def apply(
        self, job: Job, *, prune: Sequence[str], now: datetime, taken_back: Collection[str] = ()
    ) -> ImportReport:
        """Make everything staged visible, in key order; let go of what was not seen.

        Args:
            prune: how the keys begin of which the import is the complete listing; `("",)` for all, empty for none.
            taken_back: places below the import root whose documents the upstream has deleted; what is staged of them
                stays.
        """
        ...


class QuarantineStore(Protocol):
    """Records that could not be read."""

    def list(self, source: str | None) -> Sequence[Quarantined]:
        """Open entries, oldest first."""
        ...

    def raw(self, entry: int) -> tuple[Quarantined, bytes]:
        """One entry with its bytes."""
        ...

    def members(self, source: str) -> Iterable[Member]:
        """The open entries of a source as inputs, for another attempt."""
        ...


class RecordReader(Protocol):
    """Look-ups for people."""

    def find(self, identifier: str, tenant: str) -> Sequence[StoredRecord]:
        """Every current document whose id, alias or key is `identifier`, or that covers it."""
        ...

    def statements(self, identifiers: Collection[str], tenant: str) -> Sequence[Statement]:
        """What current documents say about any of some ids."""
        ...
