"""What exports need from the outside."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from stellaops.bundles.jsonl.shards import Line
from stellaops.bundles.manifest import Source
from stellaops.bundles.trivy.inspect import Sentinel
from stellaops.bundles.trivy.java_db import JavaRow, JavaSentinel
from stellaops.bundles.trivy.marks import Scores
from stellaops.bundles.trivy.vulnerability_db import AdvisoryEntry, DataSource, DetailEntry
from stellaops.core.digests import Digest
from stellaops.exports.events import Event
from stellaops.exports.profile import Kind, Profile
from stellaops.exports.run import Archive, Run, RunStatus
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
    records: tuple[Kind, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a selection holds, told before anything is built.

    Attributes:
        counts: records by source.
    """

    digest: Digest
    records: int
    sources: tuple[Source, ...]
    counts: Mapping[str, int] = field(default_factory=dict)


class Evidence(Protocol):
    """The evidence store as exports read it: always in key order, in short transactions."""

    def sequence(self) -> int:
        """The newest sequence."""
        ...

    def floor(self) -> int:
        """The oldest sequence whose state is whole: what ended there or before may have been removed."""
        ...

    def sources(self) -> Sequence[str]:
        """The names of all sources, sorted."""
        ...

    def unfinished(self) -> Sequence[str]:
        """Sources with an import that has begun to show and is not complete, or a first one that never ended."""
        ...

    def checked(self) -> Mapping[str, datetime | None]:
        """When each source was last compared with its upstream, or imported; None for never."""
        ...

    def snapshot(self, selection: Selection, keep: Callable[[bytes], None] | None = None) -> Snapshot:
        """Digest, number and sources of what is selected.

        Args:
            keep: is given what the digest is taken over (`bundles.digest_list`).
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredBill:
    """A bill of materials with its index row in canonical JSON.

    Attributes:
        verbatim: whether the body is of a form that is not JSON.
    """

    owner: str
    source: str
    key: str
    verbatim: bool
    body: bytes
    index_row: bytes


class RowSource(Protocol):
    """The rows that bundles are made of."""

    def raw_lines(self, selection: Selection) -> Iterator[Line]:
        """Lines of `data/raw/…`."""
        ...

    def index_lines(self, selection: Selection) -> Iterator[Line]:
        """Lines of `indexes/…`; not of bills of materials, which come with their documents."""
        ...

    def sboms(self, selection: Selection) -> Iterator[StoredBill]:
        """The tenant's bills of materials; selectors of advisories do not narrow them."""
        ...

    def upstream_lines(self, selection: Selection) -> Iterator[Line]:
        """Lines of `data/upstream/…`."""
        ...

    def normalized_lines(self, selection: Selection) -> Iterator[Line]:
        """Lines of `data/normalized/…`."""
        ...

    def sources(self) -> Sequence[str]:
        """The names of all sources, sorted."""
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


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; None restricts nothing."""

    profile: str | None = None
    status: str | None = None


EVERY_RUN = RunFilter()


class Runs(Protocol):
    """Records of runs and their events. A change and its events are one transaction."""

    def add(self, run: Run, events: Sequence[Event], *, most_pending: int | None = None) -> Run:
        """Store a new run, at version 1.

        Args:
            most_pending: how many runs of the tenant may be pending with it; exact, however many submit at once.

        Raises:
            StoreConflict: there is one of this id.
            RunQuotaExceeded: too many are pending.
        """
        ...

    def change(self, run: Run, events: Sequence[Event] = ()) -> Run:
        """Write a run over the record that it was made from; what is returned stands in the store.

        Raises:
            RunChanged: the record's version is not `run.version`: someone else has changed it meanwhile.
        """
        ...

    def tell(self, run_id: str, attempt: int, events: Sequence[Event]) -> None:
        """Add events of an attempt under way; the record stays as it is.

        Raises:
            RunChanged: the run is not running, or in another attempt.
        """
        ...

    def get(self, tenant: str, run_id: str) -> Run | None:
        """A run by id."""
        ...

    def list(
        self,
        tenant: str,
        which: RunFilter = EVERY_RUN,
        *,
        before: Run | None = None,
        limit: int | None = None,
    ) -> Sequence[Run]:
        """Runs, newest first: `(submitted_at, id)` descending; those after `before` in that order."""
        ...

    def unended(self, statuses: Collection[RunStatus]) -> Sequence[Run]:
        """Runs of all tenants in some states, the oldest first."""
        ...

    def count(self, tenant: str, status: RunStatus) -> int:
        """How many runs of a tenant are in a state."""
        ...

    def by_day(self, tenant: str, since: date) -> Mapping[tuple[date, RunStatus], int]:
        """How many runs of a tenant were submitted on each day (UTC) from one on, by the state that they have."""
        ...

    def planned(self, tenant: str, plan_digest: str) -> Sequence[Run]:
        """Runs of a tenant that succeeded by a plan, newest first."""
        ...

    def events(self, run_id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Events of a run with numbers above `after`, in order. Whose run it is must have been checked."""
        ...

    def heads(self, run_ids: Collection[str]) -> Mapping[str, tuple[int, RunStatus]]:
        """How many events runs have, and their states, of those that exist: one look for however many watchers."""
        ...

    def delete(self, tenant: str, run_id: str) -> None:
        """Forget a run's record and its events."""
        ...


class Queue(Protocol):
    """The durable queue. What is enqueued is executed by some worker, whatever processes die in between."""

    def enqueue(self, run: Run) -> None:
        """Have a pending run executed; doing so twice for one attempt is once."""
        ...

    def cancel(self, run: Run) -> None:
        """Stop work on a run whose record says cancelled."""
        ...

    def limit(self, tenant: str, max_active_runs: int) -> None:
        """How many runs of a tenant may be running at once; takes effect within seconds."""
        ...

    def pause(self) -> None:
        """Start no more runs, on any worker, until `resume`."""
        ...

    def resume(self) -> None:
        """Start runs again."""
        ...

    def status(self) -> QueueStatus:
        """What waits and what runs."""
        ...

    def workers(self) -> Sequence[Worker]:
        """The workers that are alive, and those whose work is being taken over."""
        ...


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """Numbers of the queue: runs by tenant."""

    paused: bool
    ready: Mapping[str, int]
    running: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process.

    Attributes:
        state: `running`, `draining` or `lost`.
        slots: weight of what it may work on at once.
    """

    id: str
    state: str
    slots: int
    seen_at: datetime
    runs: tuple[str, ...] = ()


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

    def revision(self, tenant: str, name: str, revision: str) -> Profile | None:
        """One revision, also of a profile that was deleted."""
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

    def reserve(self, size: int) -> None:
        """Keep room for so many bytes in this place, beside what others have kept and not used yet.

        Raises:
            NoStagingRoom: the disk has not that much.
            StagingTaken: it would have, were others done.
        """
        ...


class Workspace(Protocol):
    """Where bundles grow, on this machine."""

    def stage(self, run_id: str) -> AbstractContextManager[Staging]:
        """A staging place, removed at the end whatever happens; what dead processes left goes too."""
        ...

    def is_staged(self, run_id: str) -> bool:
        """Whether a live process works on a run."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a stored bundle: `path` inside its root."""

    path: str
    bytes: int


class ArtefactStore(Protocol):
    """Where finished bundles are kept, by export and archive. Who may see which one, the records of runs say.

    Errors of the store are `DependencyFailed` or `MissingPrerequisite` (no room).
    """

    def put(self, archive: Archive, root: Path) -> None:
        """Take over a finished bundle root, in one step for readers; `root` need not exist afterwards.

        An equal bundle is kept; where only its signatures differ, they are replaced.
        """
        ...

    def exists(self, archive: Archive) -> bool:
        """Whether a bundle is there, whole."""
        ...

    def files(self, archive: Archive) -> Sequence[StoredFile]:
        """All files of a bundle, by path; none where there is no bundle."""
        ...

    def stat(self, archive: Archive, path: str) -> StoredFile | None:
        """One file; None where there is none, or where the path is not one of a bundle."""
        ...

    def read(self, archive: Archive, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes of a file from `start` to before `end`, in pieces of up to 1 MiB.

        Raises:
            ArtefactMissing: there is no such file; before the first piece.
        """
        ...

    def local_root(self, archive: Archive) -> Path | None:
        """The bundle root where it lies as a directory on this machine."""
        ...

    def local_file(self, archive: Archive, path: str) -> Path | None:
        """The same for one file."""
        ...

    def opened(self, archive: Archive) -> AbstractContextManager[Path]:
        """The bundle root as a directory to read, which may be a copy for the time being.

        Raises:
            BundleGone: there is no such bundle.
        """
        ...

    def copy(self, archive: Archive, target: Path) -> None:
        """Copy a bundle root to a new directory, all or nothing.

        Raises:
            BundleGone: there is no such bundle.
            TargetExists: the target is there and is not empty.
        """
        ...

    def delete(self, archive: Archive) -> None:
        """Remove a bundle, if it is there."""
        ...


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What a tenant may have.

    Attributes:
        max_active_runs: runs at once; 0 closes its submissions.
        max_queued_runs: runs that wait.
        max_storage: bytes of its kept bundles; None for no bound.
    """

    max_active_runs: int = 2
    max_queued_runs: int = 100
    max_storage: int | None = None


class Limits(Protocol):
    """The limits of tenants."""

    def limits(self, tenant: str) -> RunLimits:
        """Those of a tenant; the defaults where nothing is set."""
        ...


class Keys(Protocol):
    """The tenant's key, and the public keys that it trusts."""

    def signer(self, tenant: str, key: str | None = None) -> Signer:
        """The active key, made when the tenant has none; or another of its keys, by id or by URI."""
        ...

    def trusted(self, tenant: str) -> tuple[tuple[bytes, ...], frozenset[str]]:
        """Public keys in PEM, and ids of keys that verify nothing."""
        ...


class Wrapping(Protocol):
    """Key services that wrap content keys."""

    def wrap(self, tenant: str, uri: str, key: bytes, bound_to: str) -> bytes:
        """A key, encrypted under the service's key of that URI and bound to a text.

        Raises:
            StellaError: the service does not do it, or the tenant may not use that key.
        """
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
