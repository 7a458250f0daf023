"""What pulls need from the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from stellaops.ingest.companions import NOTHING, Announced
from stellaops.ingest.layouts.interface import Answer, Ask, Want
from stellaops.ingest.ports import Inputs
from stellaops.ingest.pull_model import Definition, Known, Outcome, PullState


class Fetched(Struct, frozen=True):
    """A file in the spool.

    Attributes:
        fetched_at: in microseconds since 1970.
        offset: where it lies in the pack of small files; -1 for a blob of its own.
        hashes: the algorithms whose stated hash it was compared with.
        inside: the folder of an archive that belongs to the source; all of it when empty.
    """

    path: str
    url: str
    mark: str
    digest: str
    size: int
    etag: str
    last_modified: str
    fetched_at: int
    offset: int
    hashes: tuple[str, ...] = ()
    inside: str = ""

    @property
    def known(self) -> Known:
        """What the next pull should know of it."""
        return Known(self.mark, self.etag, self.last_modified, self.digest)


class Pending(Struct, frozen=True):
    """Everything of a pull that is fetched and not yet imported; it survives the process."""

    files: tuple[Fetched, ...]
    known: dict[str, Known]
    cursor: str
    full: bool
    prune: bool
    replace: bool
    listed: int
    taken_back: tuple[str, ...] = ()
    keys: Announced = NOTHING


class Unchanged(Struct, frozen=True):
    """The server says that a known file is still the same."""

    want: Want


class Missing(Struct, frozen=True):
    """The server does not have a listed file."""

    want: Want


class Spool(Protocol):
    """One source's place for what is fetched and not yet imported; held by one process at a time."""

    attempts: int
    bytes: int

    def listing(self, ask: Ask) -> Answer:
        """Fetch a listing, or have it from the last time when the server says that it is the same."""
        ...

    def again(self, attempt: int) -> bool:
        """Forget the listings of this pull and wait before they are asked for anew.

        Args:
            attempt: how many have failed.

        Returns:
            Whether there may be another attempt.
        """
        ...

    def fetch(self, want: Want, known: Known | None) -> Fetched | Unchanged | Missing:
        """Fetch a file, going on with a part that an earlier attempt had. Called from several threads."""
        ...

    def pending(self) -> Pending | None:
        """What an interrupted pull has fetched completely."""
        ...

    def keep(self, pending: Pending) -> None:
        """Note that everything is fetched; from here on a pull goes on with the import."""
        ...

    def inputs(self, pending: Pending, definition: Definition) -> Inputs:
        """The fetched files as the import reads them."""
        ...

    def clear(self, *, imported: bool) -> None:
        """Empty the spool; `imported` says that the listings are those of a pull that succeeded."""
        ...


class Spools(Protocol):
    """The places of all sources."""

    def open(self, definition: Definition, *, attempts: int) -> AbstractContextManager[Spool]:
        """Hold a source's spool for one pull.

        Args:
            attempts: requests for one file, the first one counted.

        Raises:
            PullBusy: another process holds it.
        """
        ...


class PullStore(Protocol):
    """Definitions and states of pulls. Every call is one transaction."""

    def definitions(self) -> Sequence[Definition]:
        """The definitions that operators stored, by name."""
        ...

    def save(self, definition: Definition) -> None:
        """Store a definition under its name."""
        ...

    def remove(self, name: str) -> bool:
        """Forget a definition and the state of its pulls; what it imported stays."""
        ...

    def state(self, name: str) -> PullState:
        """What the pulls of a source left behind."""
        ...

    def states(self) -> Mapping[str, PullState]:
        """The states of all sources that were pulled."""
        ...

    def known(self, name: str) -> dict[str, Known]:
        """What is known of a source's files, by path."""
        ...

    def note_databases(self, name: str, databases: Sequence[str]) -> None:
        """Note which databases the place of a source offers."""
        ...

    def databases(self) -> Mapping[str, Sequence[str]]:
        """Which databases the places of sources were last seen to offer, by source."""
        ...

    def begin(self, name: str, now: datetime) -> None:
        """Note that a pull begins."""
        ...

    def succeed(
        self,
        name: str,
        outcome: Outcome,
        now: datetime,
        *,
        problem: tuple[str, str] | None,
        next_attempt_at: datetime | None,
    ) -> None:
        """Note the end of a pull, what is known of the files, and that the source was checked.

        Args:
            problem: code and text, where some files could not be had: it counts as a failure all the same.
            next_attempt_at: not to be pulled before this; None for at any time.
        """
        ...

    def fail(self, name: str, problem: tuple[str, str], next_attempt_at: datetime) -> None:
        """Note a failed pull; cursor and files stay as they were."""
        ...

    def sequence(self) -> int:
        """The newest change number of the store."""
        ...
