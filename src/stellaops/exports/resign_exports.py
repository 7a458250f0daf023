"""Sign kept exports again, with the key that is active: after a rotation, or when the key that signed is revoked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from stellaops.bundles import layout, provenance
from stellaops.core.digests import Digest
from stellaops.core.errors import StellaError
from stellaops.exports.building.resign_mirror import resign_archive
from stellaops.exports.errors import ProfileNotFound, VerifyFailed
from stellaops.exports.guarded_signer import tried_signer
from stellaops.exports.plan_run import request_of
from stellaops.exports.ports import ArtefactStore, Keys, Profiles, Runs, Staging, Workspace
from stellaops.exports.profile import HTTP
from stellaops.exports.retention.ports import Turns
from stellaops.exports.retention.rules import holds_bundle
from stellaops.exports.run import Archive, Artifact, Run
from stellaops.kit import signatures
from stellaops.kit.tree import Tree
from stellaops.kit.verify import verify_bundle
from stellaops.signing.interface import Signer


@dataclass(frozen=True, slots=True)
class Resigned:
    """What became of one kept bundle; `problem` is None where it carries the active key's signatures."""

    export_id: str
    archive_id: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ResignTools:
    """What signing again works with."""

    runs: Runs
    workspace: Workspace
    artefacts: ArtefactStore
    keys: Keys
    profiles: Profiles
    turns: Turns


def resign_exports(
    tenant: str, tools: ResignTools, progress: Callable[[str], None] = lambda step: None
) -> tuple[Resigned, ...]:
    """Sign every kept bundle of a tenant with its active key, or the one that its profile names.

    Readers see the old signatures or the new ones.

    A bundle's content is held against the record of its run, not against its old signatures, which may be a thief's.
    One that is not what its run made keeps its signatures, and is told; the others are signed.

    Raises:
        SigningFailed: the active key cannot sign; nothing is changed then.
    """
    signers: dict[str | None, Signer] = {None: tried_signer(tools.keys, tenant)}
    done = []
    for run, archive in _kept(tenant, tools):
        progress(f"signing {run.export_id}")
        problem = _resign(run, archive, tools, signers)
        done.append(Resigned(archive.export_id, archive.archive_id, problem))
    return tuple(done)


def _kept(tenant: str, tools: ResignTools) -> Iterator[tuple[Run, Archive]]:
    seen = set()
    for run in filter(holds_bundle, tools.runs.list(tenant)):
        if run.archive is not None and run.archive not in seen:
            seen.add(run.archive)
            if tools.artefacts.exists(run.archive):
                yield run, run.archive


def _signer(run: Run, tools: ResignTools, known: dict[str | None, Signer]) -> Signer:
    """By the key that the run's profile names; its newest, where it is named by URI."""
    try:
        key = request_of(run, tools.profiles).profile.spec.signing.key_ref
    except ProfileNotFound:
        key = None
    if key not in known:
        known[key] = tried_signer(tools.keys, run.tenant, key)
    return known[key]


def _resign(run: Run, archive: Archive, tools: ResignTools, signers: dict[str | None, Signer]) -> str | None:
    try:
        signer = _signer(run, tools, signers)
        with tools.workspace.stage(f"resign-{archive.archive_id}") as staging:
            artifacts = _sign_again(run, archive, staging, tools, signer)
            trusted, revoked = tools.keys.trusted(run.tenant)
            verify_bundle(staging.root, trusted, revoked=revoked, scratch=staging.scratch).require()
            # What retention has removed meanwhile does not come back: no record would name it any more.
            with tools.turns.turn(run.tenant):
                if tools.artefacts.exists(archive):
                    tools.artefacts.put(archive, staging.root)
                    _record(run.tenant, archive, artifacts, tools)
    except StellaError as error:
        return error.what
    return None


def _sign_again(
    run: Run, archive: Archive, staging: Staging, tools: ResignTools, signer: Signer
) -> tuple[Artifact, ...]:
    """Leave the bundle with other signatures in the staging place; its artifacts, which hold them in a mirror."""
    with tools.artefacts.opened(archive) as root:
        name = layout.archive_beside([path.name for path in root.iterdir()])
        if name is not None:
            entries, _ = resign_archive(root / name, archive.archive_id, staging, signer)
            return tuple(Artifact(entry.path, entry.path, entry.digest, entry.bytes) for entry in entries)
    tools.artefacts.copy(archive, staging.root)
    _replace_signatures(run, staging, signer)
    return run.artifacts


def _record(tenant: str, archive: Archive, artifacts: tuple[Artifact, ...], tools: ResignTools) -> None:
    """Have the records of all runs of an archive tell its files as they are: a mirror's hold the signatures.

    What targets have keeps the signatures that it was brought with; the records say which files these are.
    """
    for run in filter(holds_bundle, tools.runs.list(tenant)):
        if run.archive == archive and run.artifacts != artifacts:
            targets = tuple(_as_brought(each, run) for each in run.targets)
            tools.runs.change(replace(run, artifacts=artifacts, targets=targets))


def _as_brought(told: dict[str, Any], run: Run) -> dict[str, Any]:
    """What a record says of a target, with the files that it was brought; the next delivery takes its place."""
    if told.get("driver") == HTTP.driver or not told.get("reference"):
        return told
    brought = [{"path": each.path, "sha256": each.sha256, "bytes": each.bytes} for each in run.artifacts]
    return {"artifacts": brought} | told


def _replace_signatures(run: Run, staging: Staging, signer: Signer) -> None:
    tree = Tree(staging.root)
    recorded = _recorded(run, tree)
    held = tree.listing().files
    old = {path for path in held if path.startswith(layout.SIGNATURES)}
    statement = tree.read(layout.PROVENANCE, provenance.LARGEST)
    made = signatures.make(signer, recorded, statement)
    if old & set(layout.JWS_PATHS.values()):
        sizes = {artifact.path: artifact.bytes for artifact in run.artifacts}
        manifests = {path: tree.read(path, sizes[path]) for path in layout.JWS_PATHS}
        made |= signatures.make_jws(signer, manifests)
    for path in old:
        (staging.root / path).unlink()
    for path, data in made.items():
        with staging.create(path) as out:
            out.write(data)


def _recorded(run: Run, tree: Tree) -> dict[str, Digest]:
    """Digests of the run's files, all of which must be there as they were made.

    Raises:
        VerifyFailed: one is another.
        UntrustedFile: one is missing.
    """
    for artifact in run.artifacts:
        digest, size = tree.measure(artifact.path, artifact.bytes)
        if (digest, size) != (artifact.sha256, artifact.bytes):
            raise VerifyFailed(
                f"{artifact.path} of export {run.export_id} is not the file that run {run.id} made"
            )
    return {artifact.path: Digest(artifact.sha256) for artifact in run.artifacts}
