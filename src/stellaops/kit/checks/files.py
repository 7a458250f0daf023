"""The files themselves: what is there, what is too much, and whether each is the one that was signed."""

from __future__ import annotations

from stellaops.bundles import layout, provenance
from stellaops.core.counting import counted
from stellaops.core.errors import StellaError
from stellaops.kit import contents, outer
from stellaops.kit.archive import ArchiveTree
from stellaops.kit.checks.inspection import (
    Doubtful,
    Inspection,
    NotApplicable,
    Refused,
    established,
    refuse_any,
)
from stellaops.kit.checks.rows import OWN, examiner_of
from stellaops.kit.checks.statements import rendered
from stellaops.kit.tree import Listing, Tree, shown

_NO_FILES = "an applied tree has no files.json and no provenance.json"


def tree(seen: Inspection) -> str:
    """Whether exactly the files that are signed are there; of an archive, the only pass over it."""
    if isinstance(seen.tree, ArchiveTree):
        return _archive(seen, seen.tree)
    paths = [layout.FILES, layout.PROVENANCE, *(entry.path for entry in established(seen.files).files)]
    expected = {*paths, *layout.expected_signatures(paths)}
    listing = seen.tree.listing()
    in_jws = set(layout.JWS_PATHS.values())
    seen.jws = bool(in_jws & (listing.files | listing.others))
    if seen.jws:
        expected |= in_jws
    refuse_any(_stray(listing, expected))
    return f"{counted(len(expected), 'file')}, nothing else"


def _stray(listing: Listing, expected: set[str]) -> list[str]:
    """What there is too much or too little of."""
    allowed = {
        "/".join(parts[:end])
        for path in expected
        for parts in [path.split("/")]
        for end in range(1, len(parts))
    }
    problems = [f"{shown(path)} is no regular file" for path in sorted(listing.others)]
    problems += [f"{shown(path)} is missing" for path in sorted(expected - listing.files - listing.others)]
    extra = listing.files - expected | listing.directories - allowed
    return problems + [f"{shown(path)} is explained by nothing" for path in sorted(extra)]


def _archive(seen: Inspection, tree: ArchiveTree) -> str:
    """The only pass over an archive: names, order and sizes are demanded, contents examined as they go by."""
    known, files = established(seen.manifest), established(seen.files)
    sizes = {entry.path: entry.bytes for entry in files.files}
    paths = {layout.FILES, layout.PROVENANCE, *sizes}
    signed = layout.expected_signatures(paths)
    head = {path for path in tree.listing().files if path.startswith(layout.SIGNATURES)}
    in_jws = set(layout.JWS_PATHS.values())
    seen.jws = bool(in_jws & head)
    wanted = {*signed, *(in_jws if seen.jws else ())}
    refuse_any(_stray(Listing(frozenset(head), frozenset(), frozenset()), wanted))
    small = {path: len(data) + 1 for path, data in rendered(known).items()}
    inside = {path: size for path, size in sizes.items() if path not in (layout.MANIFEST, *layout.RENDERED)}
    seen.examiner = examiner_of(seen, inside)
    take = established(seen.opening).taking(seen.examiner.take)
    tree.pass_over(sizes, small | {layout.PROVENANCE: provenance.LARGEST}, take)
    refuse_any(f"{shown(name)} is explained by nothing" for name in sorted(seen.found.stray))
    return f"{len(paths) + len(head)} files in their order, one frame, nothing else"


def file_digests(seen: Inspection) -> str:
    """Whether every file is the one that was signed."""
    problems = []
    for entry in established(seen.files).files:
        try:
            digest, size = seen.tree.measure(entry.path, entry.bytes)
        except StellaError as error:
            problems.append(str(error))
            continue
        if (digest, size) != (entry.digest, entry.bytes):
            problems.append(f"{entry.path} is not the file that was signed")
    refuse_any(problems)
    return f"{sum(entry.bytes for entry in established(seen.files).files)} bytes"


def outer_digest(seen: Inspection) -> str:
    """Whether the archive is the one that is signed beside it."""
    if not isinstance(seen.tree, ArchiveTree):
        raise NotApplicable("it is no archive")
    beside = outer.read(seen.tree.path)
    if beside is None:
        if seen.found.alone:
            raise Doubtful(f"no {seen.tree.path.name}{layout.ARCHIVE_DIGEST} lies beside it")
        raise Refused([f"{seen.tree.path.name}{layout.ARCHIVE_DIGEST} is missing"])
    refuse_any(beside.problems(seen.tree.path.name, established(seen.tree.digest), established(seen.key)))
    return f"{established(seen.tree.digest)} is signed beside the archive"


def encryption(seen: Inspection) -> str:
    """For whom it is encrypted, and whether it could be opened."""
    opening = established(seen.opening)
    if opening.trouble is not None:
        raise Refused([opening.trouble.what])
    if opening.envelope is None:
        raise NotApplicable("it is not encrypted")
    what = f"{opening.envelope.mode} for {len(opening.envelope.recipients)} recipients"
    if not opening.is_readable:
        raise Doubtful(f"{what}: verified as far as what is encrypted goes; --identity looks inside")
    return f"{what}, opened"


def applied_tree(seen: Inspection) -> str:
    """The same of the tree that deltas were applied to: its contents explain its files."""
    assert isinstance(seen.tree, Tree)  # noqa: S101 - the form says so
    known, listing = established(seen.manifest), seen.tree.listing()
    signed = {path for path in listing.files if path.startswith(layout.SIGNATURES)}
    inside = {path for path in listing.files - signed if path not in OWN}
    may = {layout.JWS_PATHS[layout.MANIFEST], *layout.expected_signatures(inside)} & signed
    expected = {*OWN, *inside, *layout.signature_paths(layout.MANIFEST), *may}
    refuse_any(contents.unexplained_files(known, inside) + _stray(listing, expected))
    return f"{counted(len(expected), 'file')}, nothing else"


def not_in_applied(seen: Inspection) -> str:
    """What such a tree does not have."""
    del seen
    raise NotApplicable(_NO_FILES)
