"""Profiles, runs and bundles of the local stores: a run that is asked for here is over when the answer comes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from stellaops.adapters.files.whole_file import write_file
from stellaops.adapters.telemetry.run_events import say, say_end
from stellaops.bootstrap import Local, new_run_id, now
from stellaops.center import changes, wire
from stellaops.center.authority import LocalAuthority, local_authority
from stellaops.center.downloads import LocalDownloads
from stellaops.center.interface import Progress, RunFailed, Submission, silent
from stellaops.center.keys import LocalKeys
from stellaops.center.local_ingest import LocalConcelier, LocalExcititor
from stellaops.center.local_notify import LocalNotify
from stellaops.center.local_retention import LocalRetention
from stellaops.center.local_tenant import LocalEvidence, LocalPolicies
from stellaops.center.local_upkeep import LocalUpkeep
from stellaops.center.noting import local_audit
from stellaops.center.schedules import schedules_of
from stellaops.center.wire import Wire
from stellaops.core import timestamps
from stellaops.core.errors import StellaError
from stellaops.exports import control_runs, manage_profiles, manage_runs
from stellaops.exports.bundle_tar import bundle_tar
from stellaops.exports.diff_exports import diff_exports
from stellaops.exports.distribution import manage_targets
from stellaops.exports.distribution.distribute_run import distribute_run
from stellaops.exports.distribution.manage_targets import check_destinations
from stellaops.exports.plan_run import RunRequest, plan_export
from stellaops.exports.ports import RunFilter
from stellaops.exports.read_profile import read
from stellaops.exports.run import ENDED, Run
from stellaops.exports.run_export import go_on, is_local, run_export
from stellaops.kit.verify import verify_bundle

_EVERY = 0.25
"""Seconds between two looks at the events of a run that others work on."""


class LocalExports:
    """`center.interface.Exports` on the local stores.

    Args:
        by: who asks, for records.
    """

    def __init__(self, local: Local, tenant: str, by: str) -> None:
        self._local, self._tenant, self._by = local, tenant, by
        self._noting = local_audit(local, tenant).noting

    def profiles(self) -> list[Wire]:
        """See the interface."""
        return [each.to_wire() for each in manage_profiles.list_profiles(self._tenant, self._local.profiles)]

    def profile(self, name: str) -> Wire:
        """See the interface."""
        return manage_profiles.find_profile(self._tenant, name, self._local.profiles).to_wire()

    def create_profile(self, document: object) -> Wire:
        """See the interface."""
        profiles, wanted = self._local.profiles, read(document)
        check_destinations(self._tenant, wanted.spec, self._local.targets)
        with self._noting("profile.created") as told:
            made = manage_profiles.create_profile(self._tenant, wanted, profiles, now=now(), by=self._by)
            changes.profile_changed(told, self._local, None, made, made.reason)
        return made.to_wire()

    def update_profile(self, document: object, reason: str) -> Wire:
        """See the interface."""
        profiles, wanted = self._local.profiles, read(document)
        check_destinations(self._tenant, wanted.spec, self._local.targets)
        before = manage_profiles.find_profile(self._tenant, wanted.metadata.name, profiles)
        with self._noting("profile.changed") as told:
            changed = manage_profiles.update_profile(
                self._tenant, wanted, reason, profiles, now=now(), by=self._by
            )
            changes.profile_changed(told, self._local, before, changed, reason)
        return changed.to_wire()

    def clone_profile(self, name: str, target: str) -> Wire:
        """See the interface."""
        profiles = self._local.profiles
        with self._noting("profile.created") as told:
            made = manage_profiles.clone_profile(self._tenant, name, target, profiles, now=now(), by=self._by)
            changes.profile_changed(told, self._local, None, made, made.reason)
        return made.to_wire()

    def delete_profile(self, name: str) -> Wire:
        """See the interface."""
        profiles = self._local.profiles
        found = manage_profiles.find_profile(self._tenant, name, profiles)
        with self._noting("profile.deleted") as told:
            manage_profiles.delete_profile(self._tenant, name, profiles)
            changes.profile_changed(told, self._local, found, None, "")
        return found.to_wire()

    def profile_history(self, name: str) -> list[Wire]:
        """See the interface."""
        revisions = manage_profiles.profile_history(self._tenant, name, self._local.profiles)
        return [wire.profile_revision(each) for each in revisions]

    def schedules(self) -> list[Wire]:
        """See the interface."""
        return schedules_of(self._local, self._tenant, now())

    def plan(self, submission: Submission) -> Wire:
        """See the interface."""
        request = self._request("plan", submission)
        planned = plan_export(request, self._local.export_tools)
        return {
            "profile": request.profile.name,
            "kind": request.profile.kind,
            "selectors": planned.selection.selectors.canonical(),
            "snapshot": {"sequence": planned.selection.sequence, "digest": planned.snapshot.digest},
            "generatedAt": timestamps.render(planned.generated_at),
            "policySnapshot": None if planned.policy is None else planned.policy.digest,
            "records": planned.snapshot.records,
            "sources": [source.name for source in planned.snapshot.sources],
        }

    def submit(self, submission: Submission, progress: Progress = silent) -> Wire:
        """See the interface."""
        return self._executed(self._request(new_run_id(), submission), progress)

    def replay(
        self,
        run_id: str,
        *,
        latest: bool = False,
        profile: str | None = None,
        allow_empty: bool = False,
        progress: Progress = silent,
    ) -> Wire:
        """See the interface."""
        profiles = self._local.profiles
        request = control_runs.replay_of(
            self._found(run_id), new_run_id(), profiles, latest=latest, profile=profile
        )
        return self._executed(replace(request, allow_empty=request.allow_empty or allow_empty), progress)

    def runs(
        self, profile: str | None = None, status: str | None = None, limit: int | None = None
    ) -> list[Wire]:
        """See the interface."""
        found = self._local.runs.list(self._tenant, RunFilter(profile, status), limit=limit)
        return [each.to_wire() for each in found]

    def run(self, run_id: str) -> Wire:
        """See the interface."""
        return self._shown(self._found(run_id))

    def follow(self, run_id: str, after: int = 0, progress: Progress = silent) -> Iterator[Wire]:
        """See the interface."""
        del progress
        run, seen, runs = self._found(run_id), after, self._local.runs
        while True:
            # The state first: what ends a run is stored with its last event.
            ended = (found := runs.get(self._tenant, run.id)) is None or found.status in ENDED
            for event in runs.events(run.id, seen):
                seen = event.number
                yield event.to_wire(run.id) | {"number": event.number}
            if ended:
                return
            time.sleep(_EVERY)

    def followed(self, run_id: str) -> Wire:
        """See the interface."""
        return self.run(run_id)

    def cancel(self, run_id: str) -> Wire:
        """See the interface."""
        run = self._found(run_id)
        tools = self._local.control_tools
        with self._noting("run.cancelled") as told:
            cancelled = control_runs.cancel_run(self._tenant, run.id, tools, by=self._by)
            changes.run_changed(told, run, cancelled)
        return self._shown(cancelled)

    def approve(self, run_id: str, reason: str, progress: Progress = silent) -> Wire:
        """See the interface. A run that this machine made goes on here; another one is taken up by a worker."""
        run = self._found(run_id)
        tools = self._local.control_tools
        with self._noting("run.approved") as told:
            approved = control_runs.approve_run(self._tenant, run.id, tools, by=self._by)
            changes.run_approved(told, run, approved, reason)
        if is_local(run):
            with self._recorded(run.id):
                approved = go_on(approved, self._local.export_tools, progress, begun=_say_started)
                say_end(approved)
        return self._shown(approved)

    def delete(self, run_id: str, *, dry_run: bool = False) -> Wire:
        """See the interface."""
        run, tools = self._found(run_id), self._local.control_tools
        with self._noting("run.deleted") as told:
            removed = (control_runs.removed_with if dry_run else control_runs.delete_run)(run, tools)
            changes.run_deleted(told, run, removed, dry_run=dry_run)
        return {"runId": run.id, "removed": removed, "dryRun": dry_run}

    def download(self, run_id: str, target: Path, progress: Progress = silent) -> Wire:
        """See the interface."""
        del progress
        run = self._found(run_id)
        manage_runs.download(run, target, self._local.artefacts, self._local.statements)
        return {"runId": run.id, "exportId": run.export_id, "path": str(target.absolute())}

    def download_tar(self, run_id: str, file: Path, progress: Progress = silent) -> Wire:
        """See the interface."""
        run = self._found(run_id)
        found = bundle_tar(run, self._local.artefacts, self._local.statements)
        write_file(
            file, found.pieces(), lambda done: progress(f"{done / 1e6:,.1f} of {found.size / 1e6:,.1f} MB")
        )
        return {"runId": run.id, "exportId": run.export_id, "path": str(file.absolute())}

    def opened(self, run_id: str) -> AbstractContextManager[Path]:
        """See the interface."""
        return self._opened(self._found(run_id))

    @contextmanager
    def _opened(self, run: Run) -> Iterator[Path]:
        with manage_runs.opened(run, self._local.artefacts, held=True) as root:
            yield root

    def verify(self, run_id: str) -> Wire:
        """See the interface."""
        trusted, revoked = self._local.tenant_keys.trusted(self._tenant)
        with self.opened(run_id) as root:
            return verify_bundle(root, trusted, revoked=revoked).to_wire()

    def diff(self, old: str, new: str) -> Wire:
        """See the interface."""
        with self.opened(old) as before, self.opened(new) as after:
            return diff_exports(before, after).to_wire()

    def distribute(self, run_id: str, target: str | None = None, progress: Progress = silent) -> Wire:
        """See the interface."""
        run = self._found(run_id)
        with self._noting("run.distributed") as told:
            done = distribute_run(self._tenant, run.id, target, self._local.export_tools, progress)
            changes.run_distributed(told, run, done)
        return self._shown(done)

    def targets(self) -> list[Wire]:
        """See the interface."""
        return [
            each.to_wire() for each in manage_targets.list_targets(self._tenant, self._local.verify_tools)
        ]

    def test_target(self, name: str) -> Wire:
        """See the interface."""
        return dict(manage_targets.test_target(self._tenant, name, self._local.delivery))

    def _found(self, run_id: str) -> Run:
        return manage_runs.find_run(self._tenant, run_id, self._local.runs)

    def _request(self, run_id: str, submission: Submission) -> RunRequest:
        return RunRequest(
            run_id,
            self._tenant,
            manage_profiles.find_profile(self._tenant, submission.profile, self._local.profiles),
            submission.selectors,
            sequence=submission.sequence,
            allow_empty=submission.allow_empty,
            policy_snapshot=submission.policy_snapshot,
            base=submission.base,
        )

    def _executed(self, request: RunRequest, progress: Progress) -> Wire:
        local = self._local
        manage_runs.close_interrupted(self._tenant, local.runs, local.workspace, now())
        with self._recorded(request.run_id):
            done = run_export(request, local.export_tools, progress, by=self._by, begun=self._begun)
            say_end(done)
            return self._shown(done)

    def _begun(self, run: Run) -> None:
        """A run was asked for and has begun, which is one and the same here."""
        with self._noting("run.submitted") as told:
            changes.run_submitted(told, run)
        _say_started(run)

    @contextmanager
    def _recorded(self, run_id: str) -> Iterator[None]:
        """What ends a run comes with its record, so that whoever asked learns the run's id.

        Raises:
            RunFailed: see there. Without a record the error stands alone.
        """
        try:
            yield
        except Exception as error:
            with suppress(StellaError):
                run = self._local.runs.get(self._tenant, run_id)
                if run is not None and run.status in ENDED:  # a full disk may keep its end out of the record
                    say_end(run)
                    raise RunFailed(self._shown(run), error) from error
            raise

    def _shown(self, run: Run) -> Wire:
        """A run with the place of its bundle on this machine."""
        found = run.to_wire()
        root = None if run.archive is None else self._local.artefacts.local_root(run.archive)
        for artifact in found["artifacts"] if root is not None else ():
            artifact["path"] = str(root / artifact["path"])
        return found | {"bundle": None if root is None else str(root)}


def _say_started(run: Run) -> None:
    say("run.started", run)


class LocalQueue:
    """`center.interface.Queue` on the service store: for whoever works on this machine."""

    def __init__(self, local: Local, tenant: str) -> None:
        self._local, self._tenant = local, tenant

    def status(self) -> Wire:
        """See the interface."""
        found = self._local.queue.status()
        return {"paused": found.paused, "ready": dict(found.ready), "running": dict(found.running)}

    def pause(self) -> Wire:
        """See the interface."""
        return self._switched("queue.paused", paused=True)

    def resume(self) -> Wire:
        """See the interface."""
        return self._switched("queue.resumed", paused=False)

    def _switched(self, action: str, *, paused: bool) -> Wire:
        queue = self._local.queue
        with local_audit(self._local, self._tenant).noting(action) as told:
            changes.switch_queue(told, queue, paused=paused)
        return self.status()

    def workers(self) -> list[Wire]:
        """See the interface."""
        return [
            {
                "id": worker.id,
                "state": worker.state,
                "slots": worker.slots,
                "seenAt": timestamps.render(worker.seen_at),
                "runs": list(worker.runs),
            }
            for worker in self._local.queue.workers()
        ]


class LocalCenter:
    """`center.interface.Center` on the local stores.

    Args:
        by: who asks, for records.
    """

    def __init__(self, local: Local, tenant: str, by: str) -> None:
        self._local, self._tenant, self._by = local, tenant, by

    @cached_property
    def concelier(self) -> LocalConcelier:
        """Advisories."""
        return LocalConcelier(self._local, self._tenant)

    @cached_property
    def excititor(self) -> LocalExcititor:
        """VEX."""
        return LocalExcititor(self._local, self._tenant)

    @cached_property
    def policies(self) -> LocalPolicies:
        """Overlays."""
        return LocalPolicies(self._local, self._tenant)

    @cached_property
    def evidence(self) -> LocalEvidence:
        """Bills of materials."""
        return LocalEvidence(self._local, self._tenant)

    @cached_property
    def exports(self) -> LocalExports:
        """Profiles, runs and bundles."""
        return LocalExports(self._local, self._tenant, self._by)

    @cached_property
    def upkeep(self) -> LocalUpkeep:
        """What looks after bundles."""
        return LocalUpkeep(self._local, self._tenant)

    @cached_property
    def notify(self) -> LocalNotify:
        """Who is told of what."""
        return LocalNotify.at_home(self._local, self._tenant)

    @cached_property
    def retention(self) -> LocalRetention:
        """How long bundles are kept."""
        return LocalRetention(self._local, self._tenant, self._by)

    @cached_property
    def downloads(self) -> LocalDownloads:
        """Download tokens and links."""
        return LocalDownloads(self._local, self._tenant, self._by, local_audit(self._local, self._tenant))

    @cached_property
    def queue(self) -> LocalQueue:
        """The queue of runs."""
        return LocalQueue(self._local, self._tenant)

    @cached_property
    def authority(self) -> LocalAuthority:
        """Who may use the service."""
        return local_authority(self._local, self._tenant)

    @cached_property
    def keys(self) -> LocalKeys:
        """Keys that sign exports."""
        return LocalKeys(self._local, self._tenant)
