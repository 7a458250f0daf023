"""Directories that take each other's place in one step, and the errors of disks as ours."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stellaops.core.errors import MissingPrerequisite, StellaError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.ENOTDIR: "a part of the path is no directory",
}


class NoRoom(MissingPrerequisite):
    """A disk that is full or cannot be written."""

    code = "ERR_EXPORT_NO_ROOM"
    hint = "Free room or give write permission, then run the command again; nothing half written was left."


@contextmanager
def disk_errors(where: Path, refused: Callable[[str], StellaError] = NoRoom) -> Iterator[None]:
    """A disk that is full or cannot be written as an error that says so."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        raise refused(f"{_unwritable(error, where)}: {_REASONS[error.errno]}") from error


@contextmanager
def made(directory: Path) -> Iterator[None]:
    """A directory with all above it, for as long as the block ends well; else what was made goes again, if empty."""
    absent = [each for each in (directory, *directory.parents) if not each.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # not empty, or not made
            for each in absent:
                if each.exists():
                    each.rmdir()
        raise


def _unwritable(error: OSError, where: Path) -> str | Path:
    """What could not be written: of two names, as of a copy, the second; `where` for what only grew beside it."""
    name = error.filename2 or error.filename
    if not isinstance(name, str):
        return where
    near = where.absolute()
    grown = str(Path(name).absolute()).startswith((f"{near}", f"{near.parent}/.{near.name}."))
    return where if grown and error.errno in _FULL and where != Path() else name


def put_in_place(fresh: Path, target: Path) -> None:
    """Make a finished directory the one at `target`, in one step; what was there is then at `fresh`."""
    try:
        fresh.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        exchange(fresh, target)


def exchange(one: Path, other: Path) -> None:
    """Swap two directories in one step (Linux renameat2); a file system that cannot gets two renames."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = (os.fsencode(one), os.fsencode(other))
    if renameat2 and renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return
    kept = one.with_name("replaced")
    other.rename(kept)
    one.rename(other)


def sync_tree(root: Path) -> None:
    """Bring a directory and all in it to the disk."""
    for path in (*root.rglob("*"), root):
        sync(path)


def sync(path: Path) -> None:
    """Bring a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
