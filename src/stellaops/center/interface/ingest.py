"""Advisories and VEX: imports, pulls, what stands in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stellaops.center.interface.progress import Progress, silent
from stellaops.center.wire import Wire


@dataclass(frozen=True, slots=True)
class ImportWanted:
    """What to import and how.

    Attributes:
        feed, database: told from the documents when None.
        prune: the input is the complete listing of the source.
        openpgp_keys: keys of the publisher: then every document needs a good signature.
    """

    source: str
    feed: str | None = None
    database: str | None = None
    prune: bool = False
    openpgp_keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class PullWanted:
    """Which sources to pull, and how: named ones, or every enabled one, or every one that is due.

    Attributes:
        full: everything again, not only what changed.
        at_once: also sources that rest after failures.
        parallel: downloads at once; by the settings when None.
    """

    names: tuple[str, ...] = ()
    every: bool = False
    due: bool = False
    full: bool = False
    at_once: bool = False
    parallel: int | None = None


@dataclass(frozen=True, slots=True)
class ConsensusWanted:
    """About which vulnerability, and which product of it.

    Attributes:
        weights: a document with the weights of issuers.
        policy_snapshot: whose weights go over them: by digest, `latest` or `none`.
    """

    vulnerability: str
    product: str | None = None
    sequence: int | None = None
    weights: bytes | None = None
    policy_snapshot: str = "latest"


class Ingest(Protocol):
    """One side of the evidence: advisories, or VEX."""

    def import_paths(self, wanted: ImportWanted, paths: Sequence[Path], progress: Progress = silent) -> Wire:
        """Import files, folders and archives; what the import did."""
        ...

    def pull(self, wanted: PullWanted, progress: Progress = silent) -> list[Wire]:
        """Pull sources; what each pull did, also a failed one."""
        ...

    def refresh(self, progress: Progress = silent) -> Wire:
        """Bring up to date what is worked out from imports; how much was `examined` and `changed`."""
        ...

    def status(self) -> Wire:
        """Every source: how many documents, how fresh, what was set aside."""
        ...

    def documents(self, identifier: str) -> list[Wire]:
        """The documents about an id: at least one."""
        ...

    def raw_documents(self, identifier: str) -> bytes:
        """The upstream's own bytes of them, one after the other."""
        ...

    def quarantined(self, source: str | None = None) -> list[Wire]:
        """Records that could not be read."""
        ...

    def quarantined_entry(self, entry: int) -> Wire:
        """One of them."""
        ...

    def quarantined_bytes(self, entry: int) -> bytes:
        """The bytes of one of them."""
        ...

    def retry(self, source: str) -> Wire:
        """Read the quarantined records of a source again."""
        ...


class Concelier(Ingest, Protocol):
    """Advisories, and where they and VEX are pulled from."""

    def aliases(self, identifier: str) -> Wire:
        """Which ids are the same vulnerability, who says so, and by which rule."""
        ...

    def sources(self, *, enabled: bool = False) -> list[Wire]:
        """Every defined source with its last and next pull."""
        ...

    def source(self, name: str) -> Wire:
        """A source's whole definition with the state of its pulls."""
        ...

    def define(self, name: str, definition: Mapping[str, Any], *, replace: bool = False) -> Wire:
        """Store a definition; `definition` has the fields of `ingest.pull_model.Definition`."""
        ...

    def switch(self, names: Sequence[str], *, enabled: bool) -> list[Wire]:
        """Say whether sources are pulled by their schedules: all of them, or with one unknown name none."""
        ...

    def forget(self, name: str) -> Wire:
        """Forget a definition; what was imported stays."""
        ...


class Excititor(Ingest, Protocol):
    """VEX."""

    def consensus(self, wanted: ConsensusWanted) -> Wire:
        """What VEX documents say about a vulnerability, what it comes down to, and why."""
        ...
