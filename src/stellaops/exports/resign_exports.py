"""Sign kept exports again, with the key that is active: after a rotation, or when the key that signed is revoked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stellaops.bundles import layout, provenance
from stellaops.core.digests import Digest
from stellaops.core.errors import StellaError
from stellaops.exports.errors import VerifyFailed
from stellaops.exports.ports import Keys, Runs, Staging, Workspace
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.run_export import active_signer
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


def resign_exports(
    tenant: str,
    runs: Runs,
    workspace: Workspace,
    keys: Keys,
    progress: Callable[[str], None] = lambda step: None,
) -> tuple[Resigned, ...]:
    """Sign every kept bundle of a tenant with its active key; readers see the old signatures or the new ones.

    A bundle's content is held against the record of its run, not against its old signatures, which may be a thief's.
    One that is not what its run made keeps its signatures, and is told; the others are signed.

    Raises:
        SigningFailed: the active key cannot sign; nothing is changed then.
    """
    signer = active_signer(keys, tenant)
    done = []
    for run, root in _kept(tenant, runs, workspace):
        progress(f"signing {run.export_id}")
        problem = _resign(run, root, workspace, keys, signer)
        done.append(Resigned(str(run.export_id), str(run.archive_id), problem))
    return tuple(done)


def _kept(tenant: str, runs: Runs, workspace: Workspace) -> Iterator[tuple[Run, Path]]:
    seen = set()
    for run in runs.list(tenant, status=RunStatus.SUCCEEDED.value):
        if run.export_id and run.archive_id and (run.export_id, run.archive_id) not in seen:
            seen.add((run.export_id, run.archive_id))
            root = workspace.bundle(run.export_id, run.archive_id)
            if root is not None:
                yield run, root


def _resign(run: Run, root: Path, workspace: Workspace, keys: Keys, signer: Signer) -> str | None:
    try:
        with workspace.stage(f"resign-{run.archive_id}") as staging:
            workspace.copy(root, staging.root)
            _replace_signatures(run, staging, signer)
            trusted, revoked = keys.trusted(run.tenant)
            verify_bundle(staging.root, trusted, revoked=revoked, scratch=staging.scratch).require()
            staging.publish(str(run.export_id), str(run.archive_id))
    except StellaError as error:
        return error.what
    return None


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
