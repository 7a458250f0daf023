"""From a plan to an archive in the store: built, signed, encrypted, packed, verified and scanned."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stellaops.bundles import layout, manifest
from stellaops.bundles.files_manifest import Base, FileEntry
from stellaops.bundles.manifest import ExportManifest
from stellaops.core import digests
from stellaops.core.errors import StellaError
from stellaops.exports.building import pack_mirror, plan_delta
from stellaops.exports.building.contents import BUILDERS, Built, selected_records, toolchain
from stellaops.exports.building.delta import build_delta, build_full
from stellaops.exports.building.encrypt_bundle import encrypt_files
from stellaops.exports.building.material import Material
from stellaops.exports.building.pack_mirror import Outcome
from stellaops.exports.demand_whole import demand_whole
from stellaops.exports.errors import AdapterFailed, SmokeUnavailable, VerifyFailed
from stellaops.exports.guarded_signer import tried_signer, wrapping_for
from stellaops.exports.plan_run import (
    Plan,
    RunRequest,
    Tools,
    projections_of,
)
from stellaops.exports.ports import Staging
from stellaops.exports.profile import DELTA
from stellaops.exports.retention.claim_archive import claim_archive
from stellaops.exports.retention.room import demand_kept
from stellaops.exports.run import Archive, Artifact, Chain, Run
from stellaops.exports.step_clock import Clock
from stellaops.exports.use_trivy import smoke
from stellaops.kit.report import Report
from stellaops.kit.sealing import Sealed, seal
from stellaops.kit.verify import verify_bundle
from stellaops.policy.snapshot import EMPTY
from stellaops.signing.interface import Signer


def make_archive(staging: Staging, run: Run, made: Plan, tools: Tools, clock: Clock) -> Run:
    """Make the archive of a plan and put it into the store; the run as it is then, for whoever is to store it.

    Raises:
        StellaError: the run fails for this reason.
    """
    request = made.request
    signer = tried_signer(tools.keys, run.tenant, request.profile.spec.signing.key_ref)
    with clock.step("build"), _as_adapter_failure(request.profile.kind):
        built, chain = _contents(made, staging, tools)
    # The floor of the evidence may have risen while it was read.
    demand_whole(min(made.selection.sequence, made.base_sequence), tools.evidence)
    with clock.step("sign"):
        state = _manifest(request, made, built, tools)
        sealed = _seal(request, state, staging, signer, chain)
    remarks: tuple[str, ...] = ()
    if made.encryption.enabled:
        # What nobody here can read later is judged before it is encrypted.
        with clock.step("verify"):
            _demand_sound(_verified(run, staging, tools), built, made)
        with clock.step("smoke"):
            remarks = _smoke(request, staging.root, staging, tools)
        with clock.step("encrypt"):
            for path in sealed.written:
                (staging.root / path).unlink()
            wrap = wrapping_for(tools.wrapping, run.tenant)
            told = encrypt_files(staging, state.export_id, made.encryption, tools.entropy, wrap)
            sealed = _seal(request, state, staging, signer, chain, environment=told)
    with clock.step("pack"):
        outcome = pack_mirror.close(sealed, staging, signer, _archive_name(state, chain))
    with clock.step("verify"):
        report = _verified(run, staging, tools)
        _demand_sound(report, built, made)
    if not made.encryption.enabled:
        with clock.step("smoke"):
            remarks = _smoke(request, outcome.root, staging, tools)
    archive = Archive(state.export_id, sealed.files.archive_id)
    run = claim_archive(run, archive, tools.runs, tools.turns)
    finished = _built(run, archive, sealed, outcome, report)
    with clock.step("store"):
        demand_kept(finished, tools)
        tools.artefacts.put(archive, staging.root)
    finished = replace(finished, warnings=made.remarks + built.warnings + remarks, chain=chain)
    return replace(finished, durations=clock.durations)


def _built(run: Run, archive: Archive, sealed: Sealed, outcome: Outcome, report: Report) -> Run:
    artifacts = tuple(
        Artifact(entry.path.rpartition("/")[2], entry.path, entry.digest, entry.bytes)
        for entry in outcome.artifacts
    )
    return replace(
        run,
        export_id=archive.export_id,
        archive_id=archive.archive_id,
        rerun_hash=sealed.manifest.rerun_hash,
        artifacts=artifacts,
        signatures=outcome.signatures,
        checks=checks_of(report),
        shared_from=None,
    )


def _material(request: RunRequest, made: Plan, tools: Tools) -> Material:
    return Material(
        request.profile, made.selection, made.generated_at, tools.rows, tools.trivy, tools.java, tools.vex,
        tools.findings, made.policy or EMPTY,
    )  # fmt: skip


def _verified(run: Run, staging: Staging, tools: Tools) -> Report:
    trusted, revoked = tools.keys.trusted(run.tenant)
    return verify_bundle(staging.root, trusted, revoked=revoked, scratch=staging.scratch)


def checks_of(report: Report) -> tuple[dict[str, str], ...]:
    """The checks of a verification as records of runs name them."""
    return tuple({"id": c.id, "name": c.name, "status": c.status} for c in report.checks)


def _smoke(request: RunRequest, root: Path, staging: Staging, tools: Tools) -> tuple[str, ...]:
    spec = request.profile.spec
    if not request.profile.has_trivy or spec.smoke == "off":
        return ()
    if tools.scanner.available() is None:
        if spec.smoke == "required":
            raise SmokeUnavailable("the profile demands a smoke scan, and no trivy was found")
        return ("no smoke scan: no trivy was found",)
    smoke(root, tools.scanner, staging.scratch)
    return ()


def _manifest(request: RunRequest, made: Plan, built: Built, tools: Tools) -> ExportManifest:
    spec = request.profile.spec
    return manifest.build(
        tenant=request.tenant,
        profile=manifest.Profile(spec.kind, spec.variant, request.profile.name),
        selectors=made.selection.selectors.canonical(),
        generated_at=made.generated_at,
        snapshot=made.snapshot.digest,
        sources=made.snapshot.sources,
        policy_snapshot=None if made.policy is None else made.policy.digest,
        projections=projections_of(request.profile, tools.projection_versions),
        contents=built.contents,
    )


@contextmanager
def _as_adapter_failure(kind: str) -> Iterator[None]:
    """What a builder does not know itself is its failure, and not that of whoever drives it; a full disk is neither."""
    try:
        yield
    except (StellaError, OSError):
        raise
    except Exception as error:
        raise AdapterFailed(f"building {kind} failed: {type(error).__name__}: {error}") from error


def _contents(made: Plan, staging: Staging, tools: Tools) -> tuple[Built, Chain | None]:
    """Build what the plan says; where that stands in its chain, if it is a mirror."""
    material = _material(made.request, made, tools)
    if made.chain is None:
        return BUILDERS[made.request.profile.kind](material, staging), None
    if made.delta is None:
        return build_full(material, staging, tools.deltas.lists), made.chain
    base, own = made.delta.base, made.delta.profile
    built = build_delta(material, base.state, staging, tools.deltas)
    size = sum((staging.root / name).stat().st_size for name in _names(staging))
    if size == 0:
        remark = f"nothing has changed since export {base.state.manifest.export_id}: the delta is empty"
        return replace(built, warnings=(remark, *built.warnings)), made.chain
    if own.spec.full_instead == "never" or not plan_delta.too_large(size, made.snapshot.records, base, own):
        return built, made.chain
    for path in list(staging.root.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    built = build_full(material, staging, tools.deltas.lists)
    remark = "a full archive was made instead of a delta: that would be too large a share of it"
    return replace(built, warnings=(remark, *built.warnings)), Chain(made.chain.of, made.chain.revision)


def _archive_name(state: ExportManifest, chain: Chain | None) -> str | None:
    """The name of the archive that the bundle travels in; None where its root does."""
    if chain is None:
        return None
    if chain.number:
        return layout.delta_archive(state.generated_at, chain.number)
    return layout.full_archive(state.generated_at)


def _seal(
    request: RunRequest,
    state: ExportManifest,
    staging: Staging,
    signer: Signer,
    chain: Chain | None,
    *,
    environment: Mapping[str, Any] | None = None,
) -> Sealed:
    base = None if chain is None else chain.base
    jws = "jws" in request.profile.spec.signing.forms
    entries = [_entry(staging, path) for path in sorted(_names(staging))]
    sealed = seal(
        state,
        entries,
        toolchain(request.profile),
        signer,
        kind=None if base is None else DELTA,
        base=None if base is None else Base(base.export_id, base.archive_id),
        environment=environment,
        jws=jws,
    )
    for path, data in sealed.written.items():
        with staging.create(path) as out:
            out.write(data)
    return sealed


def _names(staging: Staging) -> Iterator[str]:
    for path in staging.root.rglob("*"):
        if path.is_file():
            yield path.relative_to(staging.root).as_posix()


def _entry(staging: Staging, name: str) -> FileEntry:
    path = staging.root / name
    with path.open("rb") as file:
        digest = digests.of_file(file)
    return FileEntry(name, digest, path.stat().st_size, layout.codec(name))


def _demand_sound(report: Report, built: Built, made: Plan) -> None:
    failed = [
        f"{check.id} {check.name}: {check.detail}" for check in report.checks if check.status == "failed"
    ]
    if failed:
        raise VerifyFailed(f"the bundle does not verify: {failed[0]}", details=failed)
    records = selected_records(built.contents)
    if records is not None and records != made.snapshot.records:
        raise VerifyFailed(f"the indexes have {records} records, the store selects {made.snapshot.records}")
