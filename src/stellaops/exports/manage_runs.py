"""Runs after their end: find, read, copy out; and those whose process died."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path

from stellaops.exports import issue_freshness
from stellaops.exports.errors import BundleGone, RunChanged, RunNotFound
from stellaops.exports.events import Event, EventType
from stellaops.exports.issue_freshness import Statements
from stellaops.exports.ports import ArtefactStore, RunFilter, Runs, Workspace
from stellaops.exports.run import Archive, Run, RunStatus
from stellaops.exports.run_export import LOCAL


def find_run(tenant: str, run_id: str, runs: Runs) -> Run:
    """A run by its id, or the newest successful one by `latest` or `latest:<profile>`.

    Raises:
        RunNotFound: there is none.
    """
    word, _, profile = run_id.partition(":")
    if word == "latest":
        found = runs.list(tenant, RunFilter(profile or None, RunStatus.SUCCEEDED.value), limit=1)
        if found:
            return found[0]
        which = f"run of profile {profile!r}" if profile else "run"
        raise RunNotFound(f"no {which} of tenant {tenant} has succeeded yet")
    run = runs.get(tenant, run_id)
    if run is None:
        raise RunNotFound(f"tenant {tenant} has no run {run_id!r}")
    return run


def archive_of(run: Run, artefacts: ArtefactStore, *, held: bool = False) -> Archive:
    """Where the bundle of a run lies.

    Args:
        held: also of a run that waits for its approval, for who is to judge it.

    Raises:
        BundleGone: it is not kept, or the run has published none.
    """
    may_be_seen = run.is_published or (held and run.status is RunStatus.HELD)
    if run.archive is None or not may_be_seen or not artefacts.exists(run.archive):
        waits = run.status is RunStatus.HELD
        raise BundleGone(
            f"run {run.id} ({run.status.value}) has no bundle",
            hint="Approve it with `stella export run approve`." if waits else None,
        )
    return run.archive


def opened(run: Run, artefacts: ArtefactStore, *, held: bool = False) -> AbstractContextManager[Path]:
    """The bundle root of a run as a directory to read.

    Raises:
        BundleGone: see `archive_of`.
    """
    return artefacts.opened(archive_of(run, artefacts, held=held))


def download(run: Run, target: Path, artefacts: ArtefactStore, statements: Statements) -> None:
    """Copy a bundle root to a directory that becomes the bundle root, all or nothing.

    A mirror archive gets its freshness statement laid beside it.

    Raises:
        BundleGone: see `archive_of`.
    """
    artefacts.copy(archive_of(run, artefacts), target)
    signed = issue_freshness.about(run, statements)
    for name, data in signed.files.items() if signed else ():
        (target / name).write_bytes(data)


def close_interrupted(tenant: str, runs: Runs, workspace: Workspace, now: datetime) -> None:
    """Mark runs as failed whose process died: their staging place is not held by anyone.

    Only those that were run on this machine without a queue; the others have workers that take over.
    """
    for run in runs.list(tenant, RunFilter(status=RunStatus.RUNNING.value)):
        if not _is_of_this_machine(run) or workspace.is_staged(run.id):
            continue
        ended = _ended(run, now)
        event = Event(EventType.FAILED, now, {"errorCode": ended.error_code, "error": ended.error})
        with suppress(RunChanged):  # it has ended between the two looks
            runs.change(ended, [event])


def _ended(run: Run, now: datetime) -> Run:
    """The run whose process died; a bundle that was published is kept, and goes to its targets when it is told to."""
    if "publish" in run.done:
        text = "the process ended before the bundle was brought to all targets; `stella export distribute` goes on"
        return run.failed("distribution", text, now)
    return run.failed("internal", "the process ended before the run did; submit it again", now)


def _is_of_this_machine(run: Run) -> bool:
    if run.worker is None:  # of a release before there were workers
        return run.version == 0
    return run.worker.startswith(f"{LOCAL}{socket.gethostname()}:")
