"""Records of runs, their queue, profiles, and how much a tenant may have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from stellaops.exports.events import Event
from stellaops.exports.profile import Profile
from stellaops.exports.run import Run, RunStatus


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
