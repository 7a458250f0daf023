"""What a run works with and from, and the plan that it follows: pinned before anything is built."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import structs

from stellaops.bundles import manifest
from stellaops.core import canonical_json, digests, timestamps
from stellaops.core.digests import Digest
from stellaops.exports import selectors as selecting
from stellaops.exports.building import plan_delta
from stellaops.exports.building.contents import toolchain
from stellaops.exports.building.delta_snapshot import DeltaTools, snapshot_after, snapshot_kept
from stellaops.exports.building.overlay_database import allowed
from stellaops.exports.building.plan_delta import Base
from stellaops.exports.building.vex_verdicts import VexRows
from stellaops.exports.demand_whole import demand_whole
from stellaops.exports.distribution.deliver import DeliverTools
from stellaops.exports.errors import (
    BaseMissing,
    EmptyExport,
    GateRefused,
    InvalidSelector,
    PolicyNotApplied,
    PolicySnapshotRequired,
    ProfileNotFound,
    SnapshotPruned,
    SnapshotUnknown,
)
from stellaops.exports.issue_freshness import FreshnessTools
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.ports import (
    ArtefactStore,
    Evidence,
    JavaRows,
    Keys,
    Limits,
    Profiles,
    Projections,
    RowSource,
    Runs,
    Scanner,
    Selection,
    Snapshot,
    TrivyRows,
    Workspace,
    Wrapping,
)
from stellaops.exports.profile import DELTA, FULL, Encryption, Profile, built_in
from stellaops.exports.retention.ports import Turns
from stellaops.exports.retention.storage import Storage
from stellaops.exports.run import Chain, Run
from stellaops.findings import find
from stellaops.findings.policies import LATEST, find_snapshot
from stellaops.findings.ports import Policies
from stellaops.policy.snapshot import EMPTY
from stellaops.policy.snapshot import Snapshot as PolicySnapshot
from stellaops.vex import consensus

PROJECTIONS: Mapping[str, tuple[str, ...]] = {
    "json:policy": ("alias", "index", "sbom", "trivy"),
    "json:raw": ("index",),
    "mirror:delta": ("index",),
    "mirror:full": ("index",),
    "trivy:db": ("trivy",),
    "trivy:java-db": ("java",),
}
"""The projections that each kind of bundle is made from; with VEX in it `VEX_PROJECTIONS` too."""

VEX_PROJECTIONS = ("alias", "vex")

_OF_PARTS: Mapping[str, tuple[str, ...]] = {
    "findings": ("alias", "sbom", "trivy"),
    "sboms": ("sbom",),
    "trivy": ("java", "trivy"),
}
"""Those that parts of a bundle need which a profile may include."""

_NO_PART_OF_THE_ARCHIVE = (
    "selectors",
    "policySnapshotMode",
    "gate",
    "distribution",
    "retention",
    "schedule",
    "timeLimit",
)
"""Fields of a profile's spec that decide no byte of an archive, or do so by what the plan names in their place."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything a run works with."""

    evidence: Evidence
    rows: RowSource
    trivy: TrivyRows
    java: JavaRows
    vex: VexRows
    findings: Callable[[Selection], find.Tools]
    policies: Policies
    projections: Projections
    profiles: Profiles
    runs: Runs
    workspace: Workspace
    artefacts: ArtefactStore
    keys: Keys
    scanner: Scanner
    deltas: DeltaTools
    turns: Turns
    freshness: FreshnessTools
    delivery: DeliverTools
    projection_versions: Mapping[str, int]
    wrapping: Wrapping
    limits: Limits
    storage: Storage
    entropy: Callable[[int], bytes] = secrets.token_bytes
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run.

    Attributes:
        selectors: over those of the profile, name by name.
        sequence: the snapshot to cut; the newest when None.
        policy_snapshot: by digest, or `latest`; as the profile has it when None.
        base: of a delta: an export's id, or `latest`; None is `latest`.
    """

    run_id: str
    tenant: str
    profile: Profile
    selectors: Mapping[str, Any]
    sequence: int | None = None
    allow_empty: bool = False
    replay_of: str | None = None
    policy_snapshot: str | None = None
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do, told before anything is built.

    Attributes:
        request: what is built; of a delta, by the full profile whose state it carries.
        policy: the snapshot that is applied; None where the profile applies none.
        delta: what a delta builds on, and its profile; None where a whole bundle is made.
        chain: of a mirror, where its archive will stand.
        remarks: what whoever asked should know.
    """

    request: RunRequest
    selection: Selection
    snapshot: Snapshot
    generated_at: datetime
    policy: PolicySnapshot | None = None
    delta: DeltaPlan | None = None
    chain: Chain | None = None
    remarks: tuple[str, ...] = ()

    @property
    def base_sequence(self) -> int:
        """Of the state that a delta builds on; that of its own where it is none."""
        return self.selection.sequence if self.delta is None else self.delta.base.state.sequence

    @property
    def encryption(self) -> Encryption:
        """For whom the archive is encrypted: a delta says so itself."""
        profile = self.request.profile if self.delta is None else self.delta.profile
        return profile.spec.encryption


@dataclass(frozen=True, slots=True)
class DeltaPlan:
    """A delta: its own profile, and what it builds on."""

    profile: Profile
    base: Base


def recipe_at_present(run: Run, profiles: Profiles) -> Profile:
    """The newest revision of a run's profile, or the run's own where the profile was deleted."""
    try:
        return find_profile(run.tenant, run.profile, profiles)
    except ProfileNotFound:
        return request_of(run, profiles).profile


def request_of(run: Run, profiles: Profiles) -> RunRequest:
    """The request that a run's record stands for, by its profile as it was when the run was submitted.

    What the run has pinned already stays as it is: its snapshot and its policy.

    Raises:
        ProfileNotFound: the profile's revision is not stored.
    """
    own = [profile for profile in built_in(run.tenant) if profile.name == run.profile]
    found = own[0] if own else profiles.revision(run.tenant, run.profile, run.profile_revision)
    if found is None:
        raise ProfileNotFound(f"revision {run.profile_revision} of profile {run.profile} is not stored")
    asked = run.asked
    pinned = None if found.policy_mode == "none" else run.policy_snapshot
    return RunRequest(
        run.id,
        run.tenant,
        # The run's selectors are those of its profile and of its request together; nothing may be added to them.
        replace(found, spec=structs.replace(found.spec, selectors={})),
        run.selectors,
        sequence=asked.sequence if run.sequence is None else run.sequence,
        allow_empty=asked.allow_empty,
        replay_of=run.replay_of,
        policy_snapshot=asked.policy_snapshot if pinned is None else pinned,
        base=asked.base,
    )


def selected(request: RunRequest) -> selecting.Selectors:
    """The selectors of a profile and a request together.

    Raises:
        InvalidSelector: with everything that is wrong.
    """
    found = selecting.parse(selecting.merged(request.profile.spec.selectors, request.selectors))
    foreign = sorted(set(found.tenants) - {request.tenant})
    if foreign:
        raise InvalidSelector(
            f"tenants: tenant {request.tenant} cannot select evidence of {', '.join(foreign)}"
        )
    return found


def check_request(request: RunRequest, evidence: Evidence, policies: Policies) -> selecting.Selectors:
    """Refuse what can be seen to be wrong before a run exists; the selectors.

    Raises:
        InvalidSelector, SnapshotUnknown, PolicySnapshotRequired, PolicyNotApplied: see there.
    """
    _sequence(request, evidence)
    if request.profile.kind != DELTA:  # what policy is applied, its full profile says
        _policy(request, policies)
    return selected(request)


def plan_export(request: RunRequest, tools: Tools) -> Plan:
    """What a run would select, without building it.

    Raises:
        StellaError: the run would fail for this reason.
    """
    carried, delta = _carried(request, tools)
    chosen = selected(carried)
    sequence = _sequence(carried, tools.evidence)
    _demand_finished(chosen, tools.evidence)
    tools.projections.complete()
    return _cut(carried, chosen, sequence, tools, delta)


def plan_again(run: Run, tools: Tools) -> Plan:
    """The plan that a run has pinned.

    Raises:
        SnapshotPruned: the evidence does not hold its snapshot any more.
    """
    request, delta = _carried(request_of(run, tools.profiles), tools, run)
    plan = _cut(request, selected(request), _sequence(request, tools.evidence), tools, delta)
    if plan.snapshot.digest != run.snapshot:
        raise SnapshotPruned(f"snapshot {run.sequence} of run {run.id} is not what it was when it was pinned")
    return plan


def _carried(
    request: RunRequest, tools: Tools, run: Run | None = None
) -> tuple[RunRequest, DeltaPlan | None]:
    """The request by the full profile whose state a delta carries, and what the delta builds on.

    Args:
        run: has pinned both already.

    Raises:
        BaseMissing: see there.
    """
    own, tenant = request.profile, request.tenant
    if own.kind != DELTA:
        return request, None
    chain = None if run is None else run.chain
    name = own.spec.of or FULL
    full = None
    if chain is not None:
        full = tools.profiles.revision(tenant, chain.of, chain.revision)
    full = plan_delta.carried_by(own, full or find_profile(tenant, name, tools.profiles))
    policy = request.policy_snapshot
    if run is not None and full.policy_mode != "none":
        policy = run.policy_snapshot or policy
    carried = replace(
        request,
        profile=replace(full, spec=structs.replace(full.spec, selectors={})),
        selectors=selecting.merged(full.spec.selectors, request.selectors),
        policy_snapshot=policy,
    )
    if run is None or chain is None:
        return carried, DeltaPlan(
            own, plan_delta.find_base(tenant, full, request.base, tools.runs, tools.artefacts)
        )
    if chain.base is None:
        return carried, None
    return carried, DeltaPlan(own, plan_delta.base_again(run, full, tools.runs, tools.artefacts))


def _demand_delta(
    delta: DeltaPlan, request: RunRequest, selection: Selection, tools: Tools
) -> tuple[DeltaPlan | None, tuple[str, ...]]:
    """The delta where there can be one; else None and why, where its profile takes a full archive instead.

    Raises:
        BaseMissing: there can be none, and the profile takes nothing else.
    """
    state = delta.base.state
    versions = projections_of(request.profile, tools.projection_versions)
    reason = plan_delta.unfit(state, request.profile, selection, versions)
    if reason is None and state.sequence < tools.evidence.floor():
        reason = f"the evidence does not reach back to its sequence {state.sequence}"
    allowed_full = delta.profile.spec.full_instead == "ifNeeded"
    if reason is None and allowed_full and plan_delta.too_many(state, selection, tools.deltas, delta.profile):
        reason = "too much has changed for a delta"
    if reason is None:
        return delta, ()
    if not allowed_full:
        raise BaseMissing(f"no delta can be made from export {state.manifest.export_id}: {reason}")
    return None, (f"a full archive was made instead of a delta: {reason}",)


def _cut(
    request: RunRequest,
    chosen: selecting.Selectors,
    sequence: int,
    tools: Tools,
    delta: DeltaPlan | None = None,
) -> Plan:
    selection = Selection(request.tenant, sequence, chosen, request.profile.included)
    policy = _policy(request, tools.policies)
    if policy is not None and request.profile.kind == "trivy:db":
        selection = allowed(selection, policy, tools.evidence.sources())
    remarks: tuple[str, ...] = ()
    if delta is not None:
        delta, remarks = _demand_delta(delta, request, selection, tools)
    snapshot = _snapshot(request, selection, delta, tools)
    if snapshot.records == 0 and not request.allow_empty:
        raise EmptyExport(f"profile {request.profile.name} selects nothing at snapshot {sequence}")
    instants = [source.updated_at for source in snapshot.sources if source.updated_at is not None]
    chain = Chain(request.profile.name, request.profile.revision) if request.profile.kind == FULL else None
    return Plan(
        request,
        selection,
        snapshot,
        max(instants, default=timestamps.EPOCH),
        policy,
        delta,
        chain if delta is None else delta.base.chain,
        remarks,
    )


def _snapshot(request: RunRequest, selection: Selection, delta: DeltaPlan | None, tools: Tools) -> Snapshot:
    if delta is not None:
        return snapshot_after(delta.base.state, selection, tools.deltas)
    if request.profile.kind == FULL:
        return snapshot_kept(selection, tools.deltas)
    return tools.evidence.snapshot(selection)


def _sequence(request: RunRequest, evidence: Evidence) -> int:
    newest = evidence.sequence()
    sequence = newest if request.sequence is None else request.sequence
    if not 0 <= sequence <= newest:
        raise SnapshotUnknown(f"snapshot {sequence} does not exist; the newest is {newest}")
    demand_whole(sequence, evidence)
    return sequence


def _demand_finished(chosen: selecting.Selectors, evidence: Evidence) -> None:
    """A source in the middle of its first import, or of an import that shows, would be exported as half of itself."""
    unfinished = [
        source for source in evidence.unfinished() if not chosen.sources or source in chosen.sources
    ]
    if unfinished:
        raise GateRefused(
            f"an import into {', '.join(unfinished)} is not finished",
            hint="Finish the import that the message names, then submit the run again.",
        )


def _policy(request: RunRequest, policies: Policies) -> PolicySnapshot | None:
    """The policy snapshot that the profile and the request ask for."""
    mode, wanted = request.profile.policy_mode, request.policy_snapshot
    if mode == "none":
        if wanted is not None:
            raise PolicyNotApplied(
                f"profile {request.profile.name} applies no policy (policySnapshotMode none)"
            )
        return EMPTY if request.profile.has_findings else None
    if mode == "required" and wanted is None and not policies.snapshots(request.tenant):
        raise PolicySnapshotRequired(
            f"profile {request.profile.name} demands a policy snapshot, and tenant {request.tenant} has taken none"
        )
    return find_snapshot(request.tenant, wanted or LATEST, policies)


def projections_of(profile: Profile, versions: Mapping[str, int]) -> dict[str, int]:
    """The projections that a profile's bundles are made from, with their versions."""
    names = {
        *PROJECTIONS[profile.kind],
        *(name for part in _OF_PARTS if profile.includes(part) for name in _OF_PARTS[part]),
    }
    if "vex" not in profile.included:
        return {name: versions[name] for name in sorted(names)}
    return {name: versions[name] for name in sorted((*names, *VEX_PROJECTIONS))} | {
        "consensus": consensus.VERSION
    }


def plan_digest(request: RunRequest, plan: Plan, key_id: str, versions: Mapping[str, int]) -> Digest:
    """The digest of all that decides the bytes of an archive: equal ones are equal archives.

    What of the profile decides nothing is left out by name, so that a field which is not known here never makes two
    different archives look equal.
    """
    spec: dict[str, Any] = request.profile.to_wire()["spec"]
    wire = {
        "tenant": request.tenant,
        "profile": request.profile.name,
        "spec": {name: value for name, value in spec.items() if name not in _NO_PART_OF_THE_ARCHIVE},
        "selectors": plan.selection.selectors.canonical(),
        "sequence": plan.selection.sequence,
        "snapshot": plan.snapshot.digest,
        "sources": [[s.name, s.database, s.licence] for s in plan.snapshot.sources],
        "generatedAt": timestamps.render(plan.generated_at),
        "policy": None if plan.policy is None else plan.policy.digest,
        "projections": projections_of(request.profile, versions),
        "toolchain": toolchain(request.profile),
        "base": None if plan.delta is None else _base_wire(plan.delta.base),
        "encryption": msgspec.to_builtins(plan.encryption),
        "manifest": manifest.VERSION,
        "key": key_id,
    }
    return digests.sha256(canonical_json.encode(wire))


def _base_wire(base: Base) -> dict[str, Any]:
    chain = base.chain
    archive = chain.base
    return {
        "number": chain.number,
        "exportId": archive and archive.export_id,
        "archiveId": archive and archive.archive_id,
    }
