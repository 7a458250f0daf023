"""Profiles, runs and bundles of the local stores: a run that is asked for here is over when the answer comes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from stellaops.adapters.telemetry.run_events import say_end
from stellaops.authority.audit import Change, digest_of
from stellaops.bootstrap import Local, new_run_id, now
from stellaops.center import wire
from stellaops.center.authority import LocalAuthority, local_audit, local_authority
from stellaops.center.downloads import LocalDownloads
from stellaops.center.interface import Progress, RunFailed, Submission, silent
from stellaops.center.keys import LocalKeys
from stellaops.center.local_ingest import LocalConcelier, LocalExcititor
from stellaops.center.local_notify import LocalNotify
from stellaops.center.local_retention import LocalRetention
from stellaops.center.local_tenant import LocalEvidence, LocalPolicies
from stellaops.center.local_upkeep import LocalUpkeep
from stellaops.center.wire import Wire
from stellaops.core import timestamps
from stellaops.core.errors import StellaError
from stellaops.exports import control_runs, manage_profiles, manage_runs
from stellaops.exports.diff_exports import diff_exports
from stellaops.exports.distribution import manage_targets
from stellaops.exports.distribution.distribute_run import distribute_run
from stellaops.exports.distribution.manage_targets import check_destinations
from stellaops.exports.plan_run import RunRequest, plan_export
from stellaops.exports.ports import RunFilter
from stellaops.exports.profile import read
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

    def _tell(self, change: Change) -> None:
        local_audit(self._local, self._tenant)(change)

    def _noted(self, action: str, name: str, before: Wire | None, after: Wire, reason: str = "") -> Wire:
        """A profile, after its change was written to the audit log."""
        self._tell(Change(action, f"profile/{name}", digest_of(before), digest_of(after), reason))
        return after

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
        made = manage_profiles.create_profile(self._tenant, wanted, profiles, now=now(), by=self._by)
        return self._noted("profile.created", made.name, None, made.to_wire())

    def update_profile(self, document: object, reason: str) -> Wire:
        """See the interface."""
        profiles, wanted = self._local.profiles, read(document)
        check_destinations(self._tenant, wanted.spec, self._local.targets)
        before = manage_profiles.find_profile(self._tenant, wanted.metadata.name, profiles)
        changed = manage_profiles.update_profile(
            self._tenant, wanted, reason, profiles, now=now(), by=self._by
        )
        if changed.revision == before.revision:
            return changed.to_wire()
        return self._noted("profile.changed", changed.name, before.to_wire(), changed.to_wire(), reason)

    def clone_profile(self, name: str, target: str) -> Wire:
        """See the interface."""
        profiles = self._local.profiles
        made = manage_profiles.clone_profile(self._tenant, name, target, profiles, now=now(), by=self._by)
        return self._noted("profile.created", made.name, None, made.to_wire(), f"clone of {name}")

    def delete_profile(self, name: str) -> Wire:
        """See the interface."""
        found = self.profile(name)
        manage_profiles.delete_profile(self._tenant, name, self._local.profiles)
        self._tell(Change("profile.deleted", f"profile/{name}", digest_of(found)))
        return found

    def profile_history(self, name: str) -> list[Wire]:
        """See the interface."""
        revisions = manage_profiles.profile_history(self._tenant, name, self._local.profiles)
        return [wire.profile_revision(each) for each in revisions]

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
        cancelled = control_runs.cancel_run(self._tenant, run.id, tools, by=self._by)
        self._tell(Change("run.cancelled", f"run/{run.id}", details={"profile": run.profile}))
        return self._shown(cancelled)

    def approve(self, run_id: str, reason: str, progress: Progress = silent) -> Wire:
        """See the interface. A run that this machine made goes on here; another one is taken up by a worker."""
        run = self._found(run_id)
        tools = self._local.control_tools
        approved = control_runs.approve_run(self._tenant, run.id, tools, by=self._by)
        self._tell(Change("run.approved", f"run/{run.id}", reason=reason, details={"profile": run.profile}))
        if is_local(run):
            with self._recorded(run.id):
                approved = go_on(approved, self._local.export_tools, progress)
                say_end(approved)
        return self._shown(approved)

    def delete(self, run_id: str, *, dry_run: bool = False) -> Wire:
        """See the interface."""
        run, tools = self._found(run_id), self._local.control_tools
        removed = (control_runs.removed_with if dry_run else control_runs.delete_run)(run, tools)
        if not dry_run:
            self._tell(Change("run.deleted", f"run/{run.id}", details={"profile": run.profile}))
        return {"runId": run.id, "removed": removed, "dryRun": dry_run}

    def download(self, run_id: str, target: Path, progress: Progress = silent) -> Wire:
        """See the interface."""
        del progress
        run = self._found(run_id)
        manage_runs.download(run, target, self._local.artefacts, self._local.statements)
        return {"runId": run.id, "exportId": run.export_id, "path": str(target.absolute())}

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
        done = distribute_run(self._tenant, run.id, target, self._local.export_tools, progress)
        told = {str(each["target"]): str(each["status"]) for each in done.targets}
        self._tell(Change("run.distributed", f"run/{run.id}", details={"targets": told}))
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
            done = run_export(request, local.export_tools, progress, by=self._by)
            say_end(done)
            return self._shown(done)

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


class LocalQueue:
    """`center.interface.Queue` on the service store: for whoever works on this machine."""

    def __init__(self, local: Local) -> None:
        self._local = local

    def status(self) -> Wire:
        """See the interface."""
        found = self._local.queue.status()
        return {"paused": found.paused, "ready": dict(found.ready), "running": dict(found.running)}

    def pause(self) -> Wire:
        """See the interface."""
        self._local.queue.pause()
        return self.status()

    def resume(self) -> Wire:
        """See the interface."""
        self._local.queue.resume()
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
        return LocalQueue(self._local)

    @cached_property
    def authority(self) -> LocalAuthority:
        """Who may use the service."""
        return local_authority(self._local, self._tenant)

    @cached_property
    def keys(self) -> LocalKeys:
        """Keys that sign exports."""
        return LocalKeys(self._local, self._tenant)
