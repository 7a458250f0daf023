"""What exports need from the outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from stellaops.bundles.jsonl.shards import Line
from stellaops.bundles.manifest import Source
from stellaops.bundles.trivy.inspect import Sentinel
from stellaops.bundles.trivy.java_db import JavaRow, JavaSentinel
from stellaops.bundles.trivy.marks import Scores
from stellaops.bundles.trivy.vulnerability_db import AdvisoryEntry, DataSource, DetailEntry
from stellaops.core.digests import Digest
from stellaops.exports.profile import Profile
from stellaops.exports.run import Run
from stellaops.exports.selectors import Selectors
from stellaops.signing.interface import Signer


@dataclass(frozen=True, slots=True)
class Selection:
    """Which revisions: the state at a sequence, narrowed by selectors, visible to a tenant.

    Attributes:
        records: which kinds of them; everything that is shared where empty.
    """

    tenant: str
    sequence: int
    selectors: Selectors
    records: tuple[Literal["advisories", "artefacts", "vex"], ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a selection holds, told before anything is built."""

    digest: Digest
    records: int
    sources: tuple[Source, ...]


class Evidence(Protocol):
    """The evidence store as exports read it: always in key order, in short transactions."""

    def sequence(self) -> int:
        """The newest sequence."""
        ...

    def sources(self) -> Sequence[str]:
        """The names of all sources, sorted."""
        ...

    def unfinished(self) -> Sequence[str]:
        """Sources with an import that has begun to show and is not complete, or a first one that never ended."""
        ...

    def snapshot(self, selection: Selection) -> Snapshot:
        """Digest, number and sources of what is selected."""
        ...


class RowSource(Protocol):
    """The rows that bundles are made of."""

    def raw_lines(self, selection: Selection) -> Iterator[Line]:
        """Lines of `data/raw/…`."""
        ...

    def index_lines(self, selection: Selection) -> Iterator[Line]:
        """Lines of `indexes/…`."""
        ...


class TrivyRows(Protocol):
    """The rows that Trivy databases are made of."""

    def advisories(self, selection: Selection) -> Iterator[AdvisoryEntry]:
        """By bucket, package and vulnerability."""
        ...

    def details(self, selection: Selection) -> Iterator[DetailEntry]:
        """By vulnerability, then in merge order."""
        ...

    def scores(self, selection: Selection) -> Scores:
        """How likely vulnerabilities are exploited, by the newest day of the selection."""
        ...

    def data_sources(self, selection: Selection) -> dict[str, DataSource]:
        """For each bucket of the selection."""
        ...

    def problems(self, selection: Selection) -> Iterator[str]:
        """Constraints that were left out, a sentence each."""
        ...


class JavaRows(Protocol):
    """The rows that Java databases are made of."""

    def artefacts(self, selection: Selection) -> Iterator[JavaRow]:
        """In ascending order, each once."""
        ...


class Projections(Protocol):
    """The derived rows of the store."""

    def complete(self) -> None:
        """Bring them to this release's version, however long it takes; goes on where it was."""
        ...


class Runs(Protocol):
    """Records of runs."""

    def save(self, run: Run) -> None:
        """Write a run, over its earlier record."""
        ...

    def get(self, tenant: str, run_id: str) -> Run | None:
        """A run by id."""
        ...

    def list(self, tenant: str, profile: str | None = None, status: str | None = None) -> Sequence[Run]:
        """Runs, newest first."""
        ...

    def delete(self, tenant: str, run_id: str) -> None:
        """Forget a run's record."""
        ...


class Profiles(Protocol):
    """Stored profiles; the built-in ones are not among them."""

    def add(self, profile: Profile) -> None:
        """Add a revision."""
        ...

    def history(self, tenant: str, name: str) -> Sequence[Profile]:
        """All revisions of a profile, oldest first."""
        ...

    def names(self, tenant: str) -> Sequence[str]:
        """Names of the stored profiles."""
        ...

    def delete(self, tenant: str, name: str) -> None:
        """Remove a profile with its history; its revisions' numbers stay taken."""
        ...

    def next_number(self, tenant: str, name: str) -> int:
        """The number of the next revision of a name, also of one that was deleted."""
        ...


class Staging(Protocol):
    """A place where one bundle root grows; nothing of it is visible until `publish`."""

    @property
    def root(self) -> Path:
        """The bundle root under construction."""
        ...

    @property
    def scratch(self) -> Path:
        """A place for intermediate files on the same disk."""
        ...

    def create(self, path: str) -> BinaryIO:
        """Open a new file of the bundle root for writing and reading back."""
        ...

    def publish(self, export_id: str, archive_id: str) -> Path:
        """Flush to disk and move the root to its final place in one step; an equal bundle there is kept."""
        ...


class Workspace(Protocol):
    """Where bundles lie."""

    def stage(self, run_id: str) -> AbstractContextManager[Staging]:
        """A staging place, removed at the end whatever happens; what dead processes left goes too."""
        ...

    def is_staged(self, run_id: str) -> bool:
        """Whether a live process works on a run."""
        ...

    def bundle(self, export_id: str, archive_id: str) -> Path | None:
        """A published bundle root."""
        ...

    def copy(self, source: Path, target: Path) -> None:
        """Copy a bundle root to a new directory, all or nothing."""
        ...

    def delete(self, export_id: str, archive_id: str) -> None:
        """Remove a published bundle."""
        ...


class Keys(Protocol):
    """The tenant's key, and the public keys that it trusts."""

    def signer(self, tenant: str) -> Signer:
        """The active key; made when the tenant has none."""
        ...

    def trusted(self, tenant: str) -> tuple[tuple[bytes, ...], frozenset[str]]:
        """Public keys in PEM, and ids of keys that verify nothing."""
        ...


class Scanner(Protocol):
    """A vulnerability scanner that judges a database."""

    def available(self) -> str | None:
        """Its version, or None where there is none."""
        ...

    def missing(self, archive: Path, sentinels: Sequence[Sentinel], scratch: Path) -> list[str]:
        """The sentinels that a scan with the database does not find, a sentence each."""
        ...

    def unrecognised(self, archive: Path, sentinels: Sequence[JavaSentinel], scratch: Path) -> list[str]:
        """The jars that a scan with the Java database does not recognise by their names, a sentence each."""
        ...
