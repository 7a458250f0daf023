"""Where bundles grow, and where they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from stellaops.exports.run import Archive


class Staging(Protocol):
    """A place where one bundle root grows; nothing of it is visible until `publish`."""

    @property
    def root(self) -> Path:
        """The bundle root under construction."""
        ...

    @property
    def scratch(self) -> Path:
        """A place for intermediate files on the same disk."""
        ...

    def create(self, path: str) -> BinaryIO:
        """Open a new file of the bundle root for writing and reading back."""
        ...

    def reserve(self, size: int) -> None:
        """Keep room for so many bytes in this place, beside what others have kept and not used yet.

        Raises:
            NoStagingRoom: the disk has not that much.
            StagingTaken: it would have, were others done.
        """
        ...


class Workspace(Protocol):
    """Where bundles grow, on this machine."""

    def stage(self, run_id: str) -> AbstractContextManager[Staging]:
        """A staging place, removed at the end whatever happens; what dead processes left goes too."""
        ...

    def is_staged(self, run_id: str) -> bool:
        """Whether a live process works on a run."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a stored bundle: `path` inside its root."""

    path: str
    bytes: int


class ArtefactStore(Protocol):
    """Where finished bundles are kept, by export and archive. Who may see which one, the records of runs say.

    Errors of the store are `DependencyFailed` or `MissingPrerequisite` (no room).
    """

    def put(self, archive: Archive, root: Path) -> None:
        """Take over a finished bundle root, in one step for readers; `root` need not exist afterwards.

        An equal bundle is kept; where only its signatures differ, they are replaced.
        """
        ...

    def exists(self, archive: Archive) -> bool:
        """Whether a bundle is there, whole."""
        ...

    def files(self, archive: Archive) -> Sequence[StoredFile]:
        """All files of a bundle, by path; none where there is no bundle."""
        ...

    def stat(self, archive: Archive, path: str) -> StoredFile | None:
        """One file; None where there is none, or where the path is not one of a bundle."""
        ...

    def read(self, archive: Archive, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes of a file from `start` to before `end`, in pieces of up to 1 MiB.

        Raises:
            ArtefactMissing: there is no such file; before the first piece.
        """
        ...

    def local_root(self, archive: Archive) -> Path | None:
        """The bundle root where it lies as a directory on this machine."""
        ...

    def local_file(self, archive: Archive, path: str) -> Path | None:
        """The same for one file."""
        ...

    def opened(self, archive: Archive) -> AbstractContextManager[Path]:
        """The bundle root as a directory to read, which may be a copy for the time being.

        Raises:
            BundleGone: there is no such bundle.
        """
        ...

    def copy(self, archive: Archive, target: Path) -> None:
        """Copy a bundle root to a new directory, all or nothing.

        Raises:
            BundleGone: there is no such bundle.
            TargetExists: the target is there and is not empty.
        """
        ...

    def delete(self, archive: Archive) -> None:
        """Remove a bundle, if it is there."""
        ...
