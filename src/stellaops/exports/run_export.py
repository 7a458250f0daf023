"""One run from plan to publication: plan, build, seal, verify, smoke, publish."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stellaops.bundles import layout, manifest
from stellaops.bundles.files_manifest import FileEntry
from stellaops.bundles.manifest import ExportManifest
from stellaops.core import digests, timestamps
from stellaops.core.errors import StellaError
from stellaops.exports import selectors as selecting
from stellaops.exports.build_contents import BUILDERS, Built, Material, toolchain
from stellaops.exports.errors import (
    EmptyExport,
    GateRefused,
    InvalidSelector,
    PolicyNotApplied,
    PolicySnapshotRequired,
    SigningFailed,
    SmokeUnavailable,
    SnapshotUnknown,
    VerifyFailed,
    error_code,
)
from stellaops.exports.overlay_database import allowed
from stellaops.exports.ports import (
    Evidence,
    JavaRows,
    Keys,
    Projections,
    RowSource,
    Runs,
    Scanner,
    Selection,
    Snapshot,
    Staging,
    TrivyRows,
    Workspace,
)
from stellaops.exports.profile import Profile, check_schema
from stellaops.exports.run import Artifact, Run, RunStatus
from stellaops.exports.use_trivy import smoke
from stellaops.exports.vex_verdicts import VexRows
from stellaops.findings import find
from stellaops.findings.policies import LATEST, find_snapshot
from stellaops.findings.ports import Policies
from stellaops.kit.report import Report
from stellaops.kit.sealing import Sealed, seal
from stellaops.kit.verify import verify_bundle
from stellaops.policy.snapshot import EMPTY
from stellaops.policy.snapshot import Snapshot as PolicySnapshot
from stellaops.signing.interface import Signer
from stellaops.vex import consensus

PROJECTIONS: Mapping[str, tuple[str, ...]] = {
    "json:policy": ("alias", "index", "sbom", "trivy"),
    "json:raw": ("index",),
    "trivy:db": ("trivy",),
    "trivy:java-db": ("java",),
}
"""The projections that each kind of bundle is made from; with VEX in it `VEX_PROJECTIONS` too."""

VEX_PROJECTIONS = ("alias", "vex")


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything a run works with."""

    evidence: Evidence
    rows: RowSource
    trivy: TrivyRows
    java: JavaRows
    vex: VexRows
    findings: find.Tools
    policies: Policies
    projections: Projections
    runs: Runs
    workspace: Workspace
    keys: Keys
    scanner: Scanner
    projection_versions: Mapping[str, int]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run.

    Attributes:
        selectors: over those of the profile, name by name.
        sequence: the snapshot to cut; the newest when None.
        policy_snapshot: by digest, or `latest`; as the profile has it when None.
    """

    run_id: str
    tenant: str
    profile: Profile
    selectors: Mapping[str, Any]
    sequence: int | None = None
    allow_empty: bool = False
    replay_of: str | None = None
    policy_snapshot: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do, told before anything is built.

    Attributes:
        policy: the snapshot that is applied; None where the profile applies none.
    """

    selection: Selection
    snapshot: Snapshot
    generated_at: datetime
    policy: PolicySnapshot | None = None


Progress = Callable[[str], None]


def run_export(request: RunRequest, tools: Tools, progress: Progress = lambda step: None) -> Run:
    """Run an export to its end. The record is kept, also of a failure, which is raised.

    Raises:
        StellaError: the reason of the failure; nothing is published then.
    """
    selected = _selected(request)
    run = Run(
        id=request.run_id,
        tenant=request.tenant,
        profile=request.profile.name,
        profile_revision=request.profile.revision,
        kind=request.profile.kind,
        selectors=selected.canonical(),
        status=RunStatus.RUNNING,
        submitted_at=tools.now(),
        replay_of=request.replay_of,
    )
    with tools.workspace.stage(run.id) as staging:
        # From here on the run is known to be alive by its staging place.
        tools.runs.save(run)
        execution = _Execution(request, tools, run, staging, progress)
        try:
            execution.execute(selected)
        except BaseException as error:
            # Where even that cannot be written, the reason stands; the next run marks this one.
            with suppress(StellaError):
                tools.runs.save(_ended(execution.run, error, tools.now()))
            raise
    return execution.run


def _ended(run: Run, error: BaseException, now: datetime) -> Run:
    text = error.what if isinstance(error, StellaError) else f"{type(error).__name__}: {error}"
    if isinstance(error, KeyboardInterrupt):
        return replace(run.failed("cancelled", "interrupted", now), status=RunStatus.CANCELLED)
    return run.failed(error_code(error), text, now)


def plan_export(request: RunRequest, tools: Tools) -> Plan:
    """What a run would select, without building it.

    Raises:
        StellaError: the run would fail for this reason.
    """
    return _plan(request, tools, _selected(request))


def _selected(request: RunRequest) -> selecting.Selectors:
    selected = selecting.parse(selecting.merged(request.profile.spec.selectors, request.selectors))
    foreign = sorted(set(selected.tenants) - {request.tenant})
    if foreign:
        raise InvalidSelector(
            f"tenants: tenant {request.tenant} cannot select evidence of {', '.join(foreign)}"
        )
    return selected


class _Execution:
    """One run under way; `run` is always what its record says next."""

    def __init__(
        self, request: RunRequest, tools: Tools, run: Run, staging: Staging, progress: Progress
    ) -> None:
        self._request = request
        self._tools = tools
        self._staging = staging
        self._progress = progress
        self.run = run

    def execute(self, selected: selecting.Selectors) -> None:
        tools, profile = self._tools, self._request.profile
        check_schema(profile.spec)
        with self._step("plan"):
            plan = _plan(self._request, tools, selected)
            signer = active_signer(tools.keys, self._request.tenant)
        self.run = replace(
            self.run,
            sequence=plan.selection.sequence,
            snapshot=plan.snapshot.digest,
            policy_snapshot=None if plan.policy is None else plan.policy.digest,
        )
        tools.runs.save(self.run)
        staging = self._staging
        with self._step("build"):
            material = Material(
                profile, plan.selection, plan.generated_at, tools.rows, tools.trivy, tools.java,
                tools.vex, tools.findings, plan.policy or EMPTY,
            )  # fmt: skip
            built = BUILDERS[profile.kind](material, staging)
        with self._step("seal"):
            state = _manifest(self._request, plan, built, tools, selected)
            sealed = _seal(state, staging, signer, jws="jws" in profile.spec.signing.forms)
        with self._step("verify"):
            trusted, revoked = tools.keys.trusted(self._request.tenant)
            report = verify_bundle(staging.root, trusted, revoked=revoked, scratch=staging.scratch)
            _demand_sound(report, built, plan)
        with self._step("smoke"):
            smoke = self._smoke(staging)
        with self._step("publish"):
            staging.publish(state.export_id, sealed.files.archive_id)
        self._succeed(sealed, built, report, smoke)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._progress(name)
        began = time.monotonic()
        yield
        durations = {**self.run.durations, name: round(time.monotonic() - began, 3)}
        self.run = replace(self.run, durations=durations)

    def _smoke(self, staging: Staging) -> tuple[str, ...]:
        spec = self._request.profile.spec
        if spec.kind != "trivy" or spec.smoke == "off":
            return ()
        if self._tools.scanner.available() is None:
            if spec.smoke == "required":
                raise SmokeUnavailable("the profile demands a smoke scan, and no trivy was found")
            return ("no smoke scan: no trivy was found",)
        smoke(staging.root, self._tools.scanner, staging.scratch)
        return ()

    def _succeed(self, sealed: Sealed, built: Built, report: Report, smoke: tuple[str, ...]) -> None:
        state = sealed.manifest
        artifacts = tuple(
            Artifact(entry.path.rpartition("/")[2], entry.path, entry.digest, entry.bytes)
            for entry in sealed.artifacts
        )
        self.run = replace(
            self.run,
            status=RunStatus.SUCCEEDED,
            export_id=state.export_id,
            archive_id=sealed.files.archive_id,
            rerun_hash=state.rerun_hash,
            artifacts=artifacts,
            signatures=sealed.signatures,
            warnings=built.warnings + smoke,
            checks=tuple({"id": c.id, "name": c.name, "status": c.status} for c in report.checks),
            finished_at=self._tools.now(),
        )
        self._tools.runs.save(self.run)


def _plan(request: RunRequest, tools: Tools, selected: selecting.Selectors) -> Plan:
    newest = tools.evidence.sequence()
    sequence = newest if request.sequence is None else request.sequence
    if not 0 <= sequence <= newest:
        raise SnapshotUnknown(f"snapshot {sequence} does not exist; the newest is {newest}")
    unfinished = tools.evidence.unfinished()
    if unfinished:
        raise GateRefused(f"an import into {', '.join(unfinished)} is not finished")
    tools.projections.complete()
    selection = Selection(request.tenant, sequence, selected, request.profile.included)
    policy = _policy(request, tools)
    if policy is not None and request.profile.kind == "trivy:db":
        selection = allowed(selection, policy, tools.evidence.sources())
    snapshot = tools.evidence.snapshot(selection)
    if snapshot.records == 0 and not request.allow_empty:
        raise EmptyExport(f"profile {request.profile.name} selects nothing at snapshot {sequence}")
    instants = [source.updated_at for source in snapshot.sources if source.updated_at is not None]
    return Plan(selection, snapshot, max(instants, default=timestamps.EPOCH), policy)


def _policy(request: RunRequest, tools: Tools) -> PolicySnapshot | None:
    """The policy snapshot that the profile and the request ask for."""
    mode, wanted = request.profile.policy_mode, request.policy_snapshot
    if mode == "none":
        if wanted is not None:
            raise PolicyNotApplied(
                f"profile {request.profile.name} applies no policy (policySnapshotMode none)"
            )
        return EMPTY if request.profile.kind == "json:policy" else None
    if mode == "required" and wanted is None and not tools.policies.snapshots(request.tenant):
        raise PolicySnapshotRequired(
            f"profile {request.profile.name} demands a policy snapshot, and tenant {request.tenant} has taken none"
        )
    return find_snapshot(request.tenant, wanted or LATEST, tools.policies)


def active_signer(keys: Keys, tenant: str) -> Signer:
    """The tenant's active key, tried once.

    Raises:
        SigningFailed: it cannot sign.
    """
    try:
        signer = keys.signer(tenant)
        signer.sign(b"probe")
    except StellaError as error:
        raise SigningFailed(
            f"the key of tenant {tenant} cannot sign: {error.what}", hint=error.advice
        ) from error
    return signer


def _manifest(
    request: RunRequest, plan: Plan, built: Built, tools: Tools, selected: selecting.Selectors
) -> ExportManifest:
    spec = request.profile.spec
    return manifest.build(
        tenant=request.tenant,
        profile=manifest.Profile(spec.kind, spec.variant, request.profile.name),
        selectors=selected.canonical(),
        generated_at=plan.generated_at,
        snapshot=plan.snapshot.digest,
        sources=plan.snapshot.sources,
        policy_snapshot=None if plan.policy is None else plan.policy.digest,
        projections=_projections(request.profile, tools),
        contents=built.contents,
    )


def _projections(profile: Profile, tools: Tools) -> dict[str, int]:
    names = PROJECTIONS[profile.kind]
    if "vex" not in profile.included:
        return {name: tools.projection_versions[name] for name in names}
    versions = {name: tools.projection_versions[name] for name in (*names, *VEX_PROJECTIONS)}
    return versions | {"consensus": consensus.VERSION}


def _seal(state: ExportManifest, staging: Staging, signer: Signer, *, jws: bool) -> Sealed:
    kind = f"{state.profile.kind}:{state.profile.variant}"
    entries = [_entry(staging.root, path) for path in sorted(staging.root.rglob("*")) if path.is_file()]
    sealed = seal(state, entries, toolchain(kind), signer, jws=jws)
    for path, data in sealed.written.items():
        with staging.create(path) as out:
            out.write(data)
    return sealed


def _entry(root: Path, path: Path) -> FileEntry:
    name = path.relative_to(root).as_posix()
    with path.open("rb") as file:
        digest = digests.of_file(file)
    return FileEntry(name, digest, path.stat().st_size, layout.codec(name))


def _demand_sound(report: Report, built: Built, plan: Plan) -> None:
    failed = [
        f"{check.id} {check.name}: {check.detail}" for check in report.checks if check.status == "failed"
    ]
    if failed:
        raise VerifyFailed(f"the bundle does not verify: {failed[0]}", details=failed)
    for part in (layout.RAW, layout.INDEXES):
        counted = [content.records for content in built.contents if content.path.startswith(part)]
        if counted and sum(counted) != plan.snapshot.records:
            raise VerifyFailed(
                f"{part} has {sum(counted)} records, the store selects {plan.snapshot.records}"
            )
