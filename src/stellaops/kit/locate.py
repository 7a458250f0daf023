"""In which form a bundle lies at a path: a bundle root, a mirror archive, or the tree that deltas were applied to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from stellaops.bundles import freshness, layout, tar_zst
from stellaops.kit.archive import ArchiveTree
from stellaops.kit.tree import Tree, UntrustedFile

CURRENT = "current"
"""The link to the tree that is in force, in a directory that deltas are applied to."""
STATE = "state.json"


class Lying(Enum):
    """The forms."""

    BUNDLE = auto()
    ARCHIVE = auto()
    APPLIED = auto()


@dataclass(slots=True)
class Found:
    """A bundle, ready to be read.

    Attributes:
        alone: whether an archive was named by itself, so that what should lie beside it may be missing.
        stray: names that lie beside an archive and have nothing to do there.
    """

    lying: Lying
    tree: Tree | ArchiveTree
    alone: bool = False
    stray: frozenset[str] = frozenset()

    def close(self) -> None:
        """Let go of it."""
        if isinstance(self.tree, ArchiveTree):
            self.tree.close()


def locate(path: Path) -> Found:
    """The bundle at a path; where there is none, reading it says so.

    An archive is the file itself, or the only one in a directory. Of an unpacked archive both the directory that
    holds `mirror/` and that one itself will do; of what deltas are applied to, the directory that holds `current`.
    """
    if path.is_file():
        return _archive(path, alone=True)
    if (path / CURRENT).is_symlink() or (path / STATE).is_file():
        return Found(Lying.APPLIED, Tree(path / CURRENT))
    if not (path / layout.MANIFEST).exists():
        held = _names(path)
        archive = layout.archive_beside(held)
        if archive is not None:
            own = {archive, *(f"{archive}{end}" for end in (layout.ARCHIVE_DIGEST, layout.ARCHIVE_SIGNATURE))}
            own |= {freshness.FILE, freshness.SIGNATURE}
            return _archive(path / archive, stray=held - own)
        inside = path / tar_zst.FOLDER.rstrip("/")
        if held == {inside.name} and not inside.is_symlink():
            return _tree(inside)
    return _tree(path)


def _tree(root: Path) -> Found:
    known = (root / layout.MANIFEST).exists()
    applied = known and not (root / layout.FILES).exists() and not (root / layout.PROVENANCE).exists()
    return Found(Lying.APPLIED if applied else Lying.BUNDLE, Tree(root))


def _archive(path: Path, *, alone: bool = False, stray: frozenset[str] = frozenset()) -> Found:
    try:
        return Found(Lying.ARCHIVE, ArchiveTree(path), alone, stray)
    except UntrustedFile:
        return Found(Lying.BUNDLE, Tree(path))  # reading it tells the reason


def _names(path: Path) -> frozenset[str]:
    try:
        return frozenset(each.name for each in path.iterdir())
    except OSError:
        return frozenset()
