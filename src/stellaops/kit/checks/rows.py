"""What the files hold: content digests, numbers of records, the snapshot, indexes, deltas, the policy."""

from __future__ import annotations

from collections.abc import Mapping

from stellaops.bundles import layout
from stellaops.core.counting import counted
from stellaops.kit import delta
from stellaops.kit.archive import ArchiveTree
from stellaops.kit.checks.inspection import Inspection, NotApplicable, established, refuse_any
from stellaops.kit.contents import Examined, Examiner
from stellaops.kit.delta import DeltaExaminer

OWN = frozenset([layout.MANIFEST, *layout.RENDERED])
"""Files of a tree that are no contents."""


def content(seen: Inspection) -> str:
    """Whether every content gives the digest that `export.json` states."""
    known = established(seen.manifest)
    if seen.opening is not None and not seen.opening.is_readable:
        raise NotApplicable("the contents are encrypted, and no private key that opens them was given")
    examined = _examined(seen)
    refuse_any(examined.problems)
    seen.examined = examined
    return f"{len(known.contents)} content digests"


def examiner_of(seen: Inspection, inside: Mapping[str, int]) -> Examiner | DeltaExaminer:
    """What looks into the content files: of a delta those that it carries."""
    known = established(seen.manifest)
    if seen.files is not None and delta.is_delta(seen.files):
        return DeltaExaminer(known, inside, seen.scratch)
    return Examiner(known, inside, seen.scratch)


def _examined(seen: Inspection) -> Examined:
    tree = seen.tree
    if isinstance(tree, ArchiveTree):
        return _finished(seen.examiner)
    if seen.files is not None:
        sizes = {entry.path: entry.bytes for entry in seen.files.files}
    else:
        sizes = {
            path: tree.size(path) for path in tree.listing().files if not path.startswith(layout.SIGNATURES)
        }
    inside = {path: size for path, size in sizes.items() if path not in OWN}
    seen.examiner = examiner = examiner_of(seen, inside)
    take = examiner.take if seen.opening is None else seen.opening.taking(examiner.take)
    for path in sorted(sizes):
        if path not in OWN:
            take(path, tree.chunks(path))
    return examiner.finish()


def _finished(examiner: Examiner | DeltaExaminer | None) -> Examined:
    if examiner is None:
        raise RuntimeError("a step ran without what it needs")
    return examiner.finish()


def records(seen: Inspection) -> str:
    """Whether each has as many records as stated; of a delta those that it carries whole."""
    found = established(seen.examined).records
    of_delta = seen.files is not None and delta.is_delta(seen.files)
    if of_delta and not found:
        raise NotApplicable("the delta carries no content whole; rows are counted in what it leads to")
    refuse_any(
        f"{content.path} has {found[content.path]} records, export.json states {content.records}"
        for content in established(seen.manifest).contents
        if content.path in found and found[content.path] != content.records
    )
    told = f"{counted(sum(found.values()), 'record')} in {counted(len(found), 'content')}"
    return f"{told} that the delta carries whole; rows are counted in what it leads to" if of_delta else told


def snapshot(seen: Inspection) -> str:
    """Whether the rows give the snapshot that is stated."""
    stated = established(seen.manifest).snapshot
    found = established(seen.examined).snapshots
    if not found:
        raise NotApplicable("the bundle holds no rows of the evidence")
    refuse_any(
        f"the rows of {path} give {digest}, export.json states {stated}"
        for path, digest in found.items()
        if digest != stated
    )
    return f"given by the rows of {' and '.join(found)}"


def indexes(seen: Inspection) -> str:
    """Whether indexes name the rows that are there."""
    examined = established(seen.examined)
    if not examined.indexed:
        raise NotApplicable("the bundle holds no documents beside an index")
    refuse_any(examined.index_problems)
    return f"name the rows of {', '.join(examined.indexed)}"


def delta_rows(seen: Inspection) -> str:
    """The lines were examined with the contents; here is said what they do, and to what."""
    if seen.files is None or seen.files.base is None:
        raise NotApplicable("it is no delta")
    found = established(seen.examiner)
    assert isinstance(found, DeltaExaminer)  # noqa: S101 - the base says so
    return (
        f"{sum(found.upserts.values())} rows set and {sum(found.removals.values())} removed,"
        f" {found.tombstones} of them with a tombstone; it builds on archive {seen.files.base.archive_id}"
    )


def policy(seen: Inspection) -> str:
    """Whether the policy snapshot is the one that is named."""
    stated, found = established(seen.manifest).policy_snapshot, established(seen.examined).policy
    if found is None:
        return f"{stated} was applied" if stated else "no policy was applied"
    refuse_any([f"the snapshot in it is {found}, export.json states {stated}"] if stated != found else [])
    return f"{found} is what export.json names"
