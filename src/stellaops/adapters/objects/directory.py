"""Artefacts in a directory: each bundle root appears by one rename."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from stellaops.adapters.files.workspace import GRAVE, copy_bundle, held_place
from stellaops.adapters.objects.paths import is_inside
from stellaops.exports.errors import ArtefactMissing, BundleGone
from stellaops.exports.ports import StoredFile
from stellaops.exports.run import Archive
from stellaops.kit.disk import disk_errors, exchange, sync, sync_tree

_PIECE = 1 << 20


class DirectoryArtefacts:
    """`exports.ports.ArtefactStore` below one directory.

    <root>/<exportId>/<archiveId>/…   bundle roots
    <root>/.staging/deleted-…         what is being removed
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, archive: Archive, root: Path) -> None:
        """See the port. A root on the same file system is moved, another one is copied beside its place first."""
        target = self._place(archive)
        with disk_errors(self._root):
            for path in (root, *root.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
            sync_tree(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._put_in_place(root, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._copy_in(root, target)
            sync(target.parent)
            sync(self._root)

    def _put_in_place(self, root: Path, target: Path) -> None:
        try:
            root.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # The same archive is there; only signatures can differ, by another key. Readers see one or the other.
            if not _same_tree(root, target):
                exchange(root, target)

    def _copy_in(self, root: Path, target: Path) -> None:
        with held_place(self._root / ".staging", f"in-{target.name}-{os.getpid()}") as place:
            copy_bundle(root, place / "root")
            self._put_in_place(place / "root", target)

    def exists(self, archive: Archive) -> bool:
        """See the port."""
        return self._place(archive).is_dir()

    def files(self, archive: Archive) -> Sequence[StoredFile]:
        """See the port."""
        root = self._place(archive)
        return [
            StoredFile(path.relative_to(root).as_posix(), path.stat().st_size)
            for path in sorted(root.rglob("*"))
            if path.is_file()
        ]

    def stat(self, archive: Archive, path: str) -> StoredFile | None:
        """See the port."""
        file = self.local_file(archive, path)
        return None if file is None else StoredFile(path, file.stat().st_size)

    def read(self, archive: Archive, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See the port."""
        file = self.local_file(archive, path)
        if file is None:
            raise ArtefactMissing(f"{archive.export_id} has no file {path[:200]!r}")
        return _pieces(file, start, file.stat().st_size if end is None else end)

    def local_root(self, archive: Archive) -> Path | None:
        """See the port."""
        place = self._place(archive)
        return place if place.is_dir() else None

    def local_file(self, archive: Archive, path: str) -> Path | None:
        """See the port."""
        file = self._place(archive) / path if is_inside(path) else None
        try:
            return file if file is not None and file.is_file() and not file.is_symlink() else None
        except OSError:  # a name that the file system does not take
            return None

    @contextmanager
    def opened(self, archive: Archive) -> Iterator[Path]:
        """See the port."""
        yield self._demand(archive)

    def copy(self, archive: Archive, target: Path) -> None:
        """See the port."""
        copy_bundle(self._demand(archive), target)

    def delete(self, archive: Archive) -> None:
        """See the port."""
        place = self._place(archive)
        with disk_errors(self._root):
            if place.is_dir():
                grave = self._root / ".staging" / f"{GRAVE}{archive.archive_id}-{os.getpid()}"
                grave.parent.mkdir(parents=True, exist_ok=True)
                place.rename(grave)
                shutil.rmtree(grave)
                with suppress(OSError):  # another archive of the same export stays
                    place.parent.rmdir()

    def _demand(self, archive: Archive) -> Path:
        place = self._place(archive)
        if not place.is_dir():
            raise BundleGone(f"archive {archive.archive_id} of export {archive.export_id} is not kept")
        return place

    def _place(self, archive: Archive) -> Path:
        return self._root / archive.export_id / archive.archive_id


def _pieces(file: Path, start: int, end: int) -> Iterator[bytes]:
    with file.open("rb") as content:
        content.seek(start)
        left = end - start
        while left > 0 and (piece := content.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece


def _same_tree(one: Path, other: Path) -> bool:
    """Whether two directories hold the same files with the same bytes."""
    names = [{path.relative_to(root) for path in root.rglob("*") if path.is_file()} for root in (one, other)]
    return names[0] == names[1] and all(
        filecmp.cmp(one / name, other / name, shallow=False) for name in names[0]
    )
