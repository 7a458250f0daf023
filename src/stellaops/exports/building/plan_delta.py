"""What a delta builds on: the archive before it in its chain, and whether there can be a delta from there at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from msgspec import structs

from stellaops.bundles import layout, manifest
from stellaops.core.errors import InvalidInput
from stellaops.exports.building.delta_snapshot import BaseState, DeltaTools
from stellaops.exports.building.mirror import DOCUMENTS
from stellaops.exports.errors import BaseMissing
from stellaops.exports.ports import ArtefactStore, RunFilter, Runs, Selection
from stellaops.exports.profile import FULL, USUAL_SHARE, Profile, percent
from stellaops.exports.run import Chain, Run, RunStatus
from stellaops.kit.archive import ArchiveTree

_LATEST = "latest"
_SMALL_BYTES, _SMALL_ROWS = 1 << 20, 1000
"""A delta of less than this is one whatever its share: of small exports the frame is most."""


@dataclass(frozen=True, slots=True)
class Base:
    """What a delta builds on.

    Attributes:
        chain: where the delta stands.
        full_bytes: of the full archive of the chain, for comparison; 0 where it is not known.
    """

    state: BaseState
    chain: Chain
    full_bytes: int


def carried_by(delta: Profile, full: Profile) -> Profile:
    """The full profile as a delta carries it: its state, and the delta's own way of packing and signing.

    Raises:
        BaseMissing: the other profile makes no full mirrors.
    """
    if full.kind != FULL:
        raise BaseMissing(
            f"profile {delta.name} is a delta of {full.name}, which is no {FULL}",
            hint="Name a profile of mirror:full by `of`.",
        )
    own, state = delta.spec, full.spec
    spec = structs.replace(
        own,
        variant=state.variant,
        include=state.include,
        schema_version=state.schema_version,
        next_update=state.next_update,
        policy_snapshot_mode=state.policy_snapshot_mode,
        of=None,
        full_instead="ifNeeded",
        max_share=None,
        selectors={},
    )
    return replace(full, spec=spec)


def find_base(tenant: str, full: Profile, wanted: str | None, runs: Runs, artefacts: ArtefactStore) -> Base:
    """The base that a submission asks for: an export, an archive or a run by its id, or the last of the chain.

    Raises:
        BaseMissing: there is none, or it is not kept any more.
    """
    made = [
        run
        for run in runs.list(tenant, RunFilter(status=RunStatus.SUCCEEDED.value))
        if run.chain is not None and run.chain.of == full.name and run.archive is not None
    ]
    named = [run for run in made if wanted in (None, _LATEST, run.export_id, run.archive_id, run.id)]
    if not named:
        known = f"no export {wanted}" if wanted not in (None, _LATEST) else "no export yet"
        raise BaseMissing(f"profile {full.name} of tenant {tenant} has {known} that a delta could build on")
    run = named[0]
    assert run.chain is not None  # noqa: S101 - of `made`
    return _base(run, full, run.chain.number + 1, made, artefacts)


def base_again(run: Run, full: Profile, runs: Runs, artefacts: ArtefactStore) -> Base:
    """The base that a run has pinned.

    Raises:
        BaseMissing: it is not kept any more.
    """
    chain = run.chain
    origin = None if chain is None or chain.base_run is None else runs.get(run.tenant, chain.base_run)
    if chain is None or origin is None:
        raise BaseMissing(f"the run that run {run.id} builds on is not kept any more")
    return _base(origin, full, chain.number, [origin], artefacts)


def _base(run: Run, full: Profile, number: int, made: list[Run], artefacts: ArtefactStore) -> Base:
    archive = run.archive
    if archive is None or run.sequence is None or not artefacts.exists(archive):
        raise BaseMissing(f"archive {run.archive_id} of export {run.export_id} is not kept any more")
    with artefacts.opened(archive) as root:
        name = layout.archive_beside({path.name for path in root.iterdir()})
        if name is None:
            raise BaseMissing(f"archive {archive.archive_id} of export {archive.export_id} is no mirror")
        tree = ArchiveTree(root / name)
        try:
            known = manifest.parse(tree.read(layout.MANIFEST, manifest.LARGEST))
        except InvalidInput as error:
            raise BaseMissing(f"archive {archive.archive_id} cannot be read: {error.what}") from error
        finally:
            tree.close()
    fulls = [each.bytes for each in made if each.chain is not None and each.chain.number == 0]
    chain = Chain(full.name, full.revision, number, archive, run.id)
    return Base(BaseState(known, run.sequence, run.counts), chain, fulls[0] if fulls else run.bytes)


def unfit(
    base: BaseState, profile: Profile, selection: Selection, projections: Mapping[str, int]
) -> str | None:
    """Why a delta from a base to a selection cannot be made; None where it can."""
    known = base.manifest
    selectors: dict[str, Any] = selection.selectors.canonical()
    if known.selectors != selectors:
        return "the base has another selection"
    if dict(known.projections) != dict(projections):
        return "the base was made with other projections"
    if base.sequence > selection.sequence:
        return f"the base is of sequence {base.sequence}, which comes after {selection.sequence}"
    lacking = [path for path in _sets(profile, selection) if known.content(path) is None]
    return f"the base has no {', '.join(lacking)}" if lacking else None


def _sets(profile: Profile, selection: Selection) -> list[str]:
    """The row sets that a full archive of a profile has in any case."""
    found = [f"{layout.INDEXES}{kind}" for kind in DOCUMENTS if kind in selection.records]
    return found + [f"{layout.RAW}{kind}" for kind in DOCUMENTS if profile.includes(kind)]


def too_many(base: BaseState, selection: Selection, tools: DeltaTools, profile: Profile) -> bool:
    """Whether so much has changed that a full archive is the smaller one to send."""
    touched = tools.changed.touched(selection, base.sequence)
    return touched > _SMALL_ROWS and 100 * touched > _share(profile) * sum(base.records.values())


def too_large(size: int, records: int, base: Base, profile: Profile) -> bool:
    """The same by the bytes of the delta's files.

    Args:
        size: of these files.
        records: of the new state; a full archive is taken to have grown as these have.
    """
    before = sum(base.state.records.values())
    full = base.full_bytes * records // before if before else base.full_bytes
    return size > _SMALL_BYTES and 100 * size > _share(profile) * full


def _share(profile: Profile) -> int:
    return percent(profile.spec.max_share or USUAL_SHARE)
