"""What the import use cases need from the outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from stellaops.ingest.model import (
    Batch,
    ImportReport,
    Job,
    Quarantined,
    Source,
    SourceStatus,
    StoredRecord,
)


class Member(Struct, frozen=True):
    """One file of an import, out of a folder or out of an archive.

    Attributes:
        path: relative to the import root; archives are transparent.
        content: its bytes; empty where `problem` says why they could not be had.
        container_url: where the enclosing container stands.
        container_digest: None when the member is itself the container (a plain file).
        offset: where `content` begins in the file at `path`, when it is a part of it (a record tried again).
        context: what its file said around such a part; None for a whole file.
    """

    path: str
    content: bytes
    container_url: str
    container_digest: str | None
    container_size: int
    problem: str = ""
    offset: int = 0
    context: str | None = None


class Inputs(Protocol):
    """The files to import, always in the same order."""

    def fingerprint(self) -> str:
        """Identifies the inputs, so that an interrupted import of the same inputs can go on."""
        ...

    def members(self, skip: int = 0) -> Iterator[Member]:
        """The files, from the given place on."""
        ...


class Sources(Protocol):
    """The registry of sources."""

    def find(self, name: str) -> Source | None:
        """A source by name."""
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

    def apply(self, job: Job, *, prune: Sequence[str], now: datetime) -> ImportReport:
        """Make everything staged visible, in key order; let go of what was not seen.

        Args:
            prune: how the keys begin of which the import is the complete listing; `("",)` for all, empty for none.
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
        """Every current document whose id, alias or key is `identifier`."""
        ...
