"""Runs after their end: find, verify, copy out, remove."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from msgspec import structs

from stellaops.core.errors import MissingPrerequisite
from stellaops.exports.errors import ProfileNotFound, RunNotFound
from stellaops.exports.manage_profiles import profile_history
from stellaops.exports.ports import Profiles, Runs, Workspace
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.run_export import RunRequest


class BundleGone(MissingPrerequisite):
    """The run's bundle is not kept any more, or the run made none."""

    code = "ERR_EXPORT_BUNDLE_GONE"
    hint = "Replay the run with `stella export run replay`: the same snapshot gives the same export."


def find_run(tenant: str, run_id: str, runs: Runs) -> Run:
    """A run by its id, or the newest successful one by `latest` or `latest:<profile>`.

    Raises:
        RunNotFound: there is none.
    """
    word, _, profile = run_id.partition(":")
    if word == "latest":
        found = runs.list(tenant, profile or None, RunStatus.SUCCEEDED.value)
        if found:
            return found[0]
    run = runs.get(tenant, run_id)
    if run is None:
        raise RunNotFound(f"tenant {tenant} has no run {run_id!r}")
    return run


def bundle_of(run: Run, workspace: Workspace) -> Path:
    """The bundle root of a run.

    Raises:
        BundleGone: there is none.
    """
    found = workspace.bundle(run.export_id, run.archive_id) if run.export_id and run.archive_id else None
    if found is None:
        raise BundleGone(f"run {run.id} ({run.status.value}) has no bundle")
    return found


def download(run: Run, target: Path, workspace: Workspace) -> None:
    """Copy a bundle root to a directory that becomes the bundle root, all or nothing."""
    workspace.copy(bundle_of(run, workspace), target)


def replay_of(origin: Run, run_id: str, profiles: Profiles, *, latest: bool = False) -> RunRequest:
    """The request that does a run again: its profile as it was, exactly its selectors, its snapshot or the newest.

    Raises:
        ProfileNotFound: the profile was deleted.
    """
    revisions = profile_history(origin.tenant, origin.profile, profiles)
    found = next((each for each in revisions if each.revision == origin.profile_revision), None)
    if found is None:
        raise ProfileNotFound(f"revision {origin.profile_revision} of profile {origin.profile} was deleted")
    return RunRequest(
        run_id,
        origin.tenant,
        # The run's selectors are those of its profile and of its request together; nothing may be added to them.
        replace(found, spec=structs.replace(found.spec, selectors={})),
        origin.selectors,
        sequence=None if latest else origin.sequence,
        allow_empty=origin.status is RunStatus.SUCCEEDED and not latest,
        replay_of=origin.id,
        policy_snapshot=None if latest or found.policy_mode == "none" else origin.policy_snapshot,
    )


def delete_run(run: Run, runs: Runs, workspace: Workspace) -> list[str]:
    """Remove a run's record, and its bundle where no other run has the same; what was removed."""
    removed = [f"run {run.id}"]
    if run.export_id and run.archive_id:
        others = [
            other
            for other in runs.list(run.tenant)
            if other.id != run.id and (other.export_id, other.archive_id) == (run.export_id, run.archive_id)
        ]
        if not others:
            workspace.delete(run.export_id, run.archive_id)
            removed.append(f"bundle {run.export_id}/{run.archive_id}")
    runs.delete(run.tenant, run.id)
    return removed


def close_interrupted(tenant: str, runs: Runs, workspace: Workspace) -> None:
    """Mark runs as failed whose process died: their staging place is not held by anyone."""
    for run in runs.list(tenant, status=RunStatus.RUNNING.value):
        if workspace.is_staged(run.id):
            continue
        found = runs.get(tenant, run.id)  # it may have ended between the two looks
        if found is not None and found.status is RunStatus.RUNNING:
            text = "the process ended before the run did; submit it again"
            runs.save(replace(found, status=RunStatus.FAILED, error_code="internal", error=text))
