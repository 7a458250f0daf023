"""Profiles, runs and bundles; the queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stellaops.center.interface.progress import Progress, silent
from stellaops.center.wire import Wire


@dataclass(frozen=True, slots=True)
class Submission:
    """A run that is asked for.

    Attributes:
        selectors: over those of the profile, name by name.
        sequence: the snapshot to cut; the newest when None.
        base: of a delta: an export's id or `latest`.
        policy_snapshot: by digest, or `latest`; as the profile has it when None.
    """

    profile: str
    selectors: Mapping[str, Any] = field(default_factory=dict)
    sequence: int | None = None
    allow_empty: bool = False
    policy_snapshot: str | None = None
    base: str | None = None
    priority: str = "normal"


class RunFailed(Exception):
    """A run that was worked on here has failed, and its record is kept.

    Attributes:
        run: the record.
        error: what it failed of.
    """

    def __init__(self, run: Wire, error: Exception) -> None:
        super().__init__(str(error))
        self.run, self.error = run, error


class Exports(Protocol):
    """Profiles, runs and bundles of a tenant."""

    def profiles(self) -> list[Wire]:
        """The newest revision of every profile, by name."""
        ...

    def profile(self, name: str) -> Wire:
        """A profile as a document."""
        ...

    def create_profile(self, document: object) -> Wire:
        """Store a profile."""
        ...

    def update_profile(self, document: object, reason: str) -> Wire:
        """Store the next revision of a profile."""
        ...

    def clone_profile(self, name: str, target: str) -> Wire:
        """Store a copy of a profile under another name."""
        ...

    def delete_profile(self, name: str) -> Wire:
        """Remove a profile; the document that it was."""
        ...

    def profile_history(self, name: str) -> list[Wire]:
        """Who changed a profile, when and why."""
        ...

    def schedules(self) -> list[Wire]:
        """Profiles that are run by themselves, the next one first: `profile schedule nextRunAt`."""
        ...

    def plan(self, submission: Submission) -> Wire:
        """What a run would select, without building it."""
        ...

    def submit(self, submission: Submission, progress: Progress = silent) -> Wire:
        """Ask for a run. On this machine it is over when this returns; a server has it in its queue.

        Raises:
            RunFailed: on this machine, where the run has a record and did not come to its end.
        """
        ...

    def replay(
        self,
        run_id: str,
        *,
        latest: bool = False,
        profile: str | None = None,
        allow_empty: bool = False,
        progress: Progress = silent,
    ) -> Wire:
        """Ask for the same again: the run's profile revision, selectors and snapshot.

        Args:
            latest: the newest snapshot instead of the run's.
            profile: another profile, such as a corrected clone, in its newest revision.
        """
        ...

    def runs(
        self, profile: str | None = None, status: str | None = None, limit: int | None = None
    ) -> list[Wire]:
        """Runs, newest first."""
        ...

    def run(self, run_id: str) -> Wire:
        """A run by its id; `latest` and `latest:PROFILE` name the newest successful one."""
        ...

    def follow(self, run_id: str, after: int = 0, progress: Progress = silent) -> Iterator[Wire]:
        """The events of a run with numbers above `after`, as they come, until none will come.

        Args:
            run_id: its id, not `latest`.
            progress: told when the events have to be waited for longer than they should.
        """
        ...

    def followed(self, run_id: str) -> Wire:
        """A run whose events were followed, as it is then."""
        ...

    def cancel(self, run_id: str) -> Wire:
        """Stop a run."""
        ...

    def approve(self, run_id: str, reason: str, progress: Progress = silent) -> Wire:
        """Let a held run go on."""
        ...

    def delete(self, run_id: str, *, dry_run: bool = False) -> Wire:
        """Remove a run's record, and its bundle where no other run has the same."""
        ...

    def distribute(self, run_id: str, target: str | None = None, progress: Progress = silent) -> Wire:
        """Bring a run's bundle to one target, or to all of its profile; the run with what came of each."""
        ...

    def targets(self) -> list[Wire]:
        """Where bundles can be brought: `name driver problem latest[]`."""
        ...

    def test_target(self, name: str) -> Wire:
        """Whether a target answers: `name status detail reference seconds remarks errorCode hint`."""
        ...

    def download(self, run_id: str, target: Path, progress: Progress = silent) -> Wire:
        """Copy a run's bundle to a directory, which is then the bundle root; all or nothing."""
        ...

    def download_tar(self, run_id: str, file: Path, progress: Progress = silent) -> Wire:
        """Copy a run's bundle into one new tar file, in a directory of the run's name; all or nothing."""
        ...

    def opened(self, run_id: str) -> AbstractContextManager[Path]:
        """A run's bundle root as a directory to read, which may be a copy for the time being."""
        ...

    def verify(self, run_id: str) -> Wire:
        """The report of a verification of a run's bundle by the keys of its tenant."""
        ...

    def diff(self, old: str, new: str) -> Wire:
        """What changed between two runs."""
        ...


class Queue(Protocol):
    """The queue of runs of all tenants, and who works on them."""

    def status(self) -> Wire:
        """Whether it is `paused`, and how many runs are `ready` and `running`, by tenant."""
        ...

    def pause(self) -> Wire:
        """Start no more runs until `resume`."""
        ...

    def resume(self) -> Wire:
        """Start runs again."""
        ...

    def workers(self) -> list[Wire]:
        """The workers that are alive, and those whose work is being taken over."""
        ...
