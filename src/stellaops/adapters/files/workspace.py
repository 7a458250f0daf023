"""Bundles on a file system: where they grow, and how they get to where they stay."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from stellaops.core import sizes
from stellaops.core.errors import AlreadyExists
from stellaops.exports.errors import NoStagingRoom, StagingTaken
from stellaops.kit.disk import disk_errors, made, sync, sync_tree

_LOCK, _RESERVED = ".lock", ".reserved"
GRAVE = "deleted-"
"""What names of places begin with that are being removed."""


class TargetExists(AlreadyExists):
    """The directory to write to is there and is not empty."""

    code = "ERR_TARGET_EXISTS"
    hint = "Name a directory that does not exist, or an empty one."


class FileWorkspace:
    """`exports.ports.Workspace` below one directory.

    <root>/.staging/<runId>/   what grows; its `.lock` is held by the process that works on it
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def stage(self, run_id: str) -> Iterator[FileStaging]:
        """See the port."""
        with disk_errors(self._root), held_place(self._root / ".staging", run_id) as place:
            (place / "root").mkdir()
            (place / "scratch").mkdir()
            yield FileStaging(place)

    def is_staged(self, run_id: str) -> bool:
        """See the port: a live process holds the lock of the run's place."""
        try:
            with (self._root / ".staging" / run_id / _LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False


@contextmanager
def held_place(staging: Path, name: str) -> Iterator[Path]:
    """A directory of this process, removed at the end whatever happens; what dead processes left goes too."""
    staging.mkdir(parents=True, exist_ok=True)
    _sweep(staging)
    place = staging / name
    lock = _own(place)
    try:
        yield place
    finally:
        _bury(place)
        os.close(lock)


def _sweep(staging: Path) -> None:
    """Remove what dead processes left; a live one holds its lock, or begins again when its place goes early."""
    for place in staging.iterdir():
        if place.name.startswith(GRAVE):
            shutil.rmtree(place, ignore_errors=True)
            continue
        try:
            with (place / _LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _bury(place)
        except BlockingIOError:
            continue
        except FileNotFoundError:
            with suppress(OSError):  # not empty any more: its process has just come to the lock
                place.rmdir()


def _bury(place: Path) -> None:
    """Remove a staging place in a way that a kill in the middle leaves nothing that looks like one."""
    grave = place.with_name(f"{GRAVE}{place.name}-{os.getpid()}")
    with suppress(OSError):
        place.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)


class FileStaging:
    """`exports.ports.Staging` in a directory."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.root = place / "root"
        self.scratch = place / "scratch"

    def create(self, path: str) -> BinaryIO:
        """See the port."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("xb")

    def reserve(self, size: int) -> None:
        """See the port. What is kept stands in a file of the place, and goes with it."""
        others = [each for each in self._place.parent.iterdir() if each != self._place]
        # Two that ask at once: one after the other, so that both do not count the same room.
        with _turn_at(self._place.parent):
            free = shutil.disk_usage(self._place).free
            waiting = sum(_unused(each) for each in others)
            told = f"{self._place.parent}: {sizes.render(free)} are free"
            if size > free:
                raise NoStagingRoom(f"{told}, and about {sizes.render(size)} are needed")
            if size > free - waiting:
                raise StagingTaken(
                    f"{told}, {sizes.render(waiting)} of it for other runs, and about {sizes.render(size)} are needed"
                )
            (self._place / _RESERVED).write_text(str(size), encoding="ascii")


@contextmanager
def _turn_at(directory: Path) -> Iterator[None]:
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def staged_bytes(root: Path) -> int:
    """How much lies in the staging places below the directory of a `FileWorkspace`."""
    places = root / ".staging"
    return sum(_size(each) for each in places.iterdir()) if places.is_dir() else 0


def _unused(place: Path) -> int:
    """What a place has kept for itself and does not use yet."""
    try:
        kept = int((place / _RESERVED).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    return max(0, kept - _size(place / "root") - _size(place / "scratch"))


def _size(place: Path) -> int:
    """The bytes of a directory, or a file, that may change or go meanwhile."""
    total = 0
    for folder, _, names in os.walk(place):
        for name in names:
            with suppress(OSError):
                total += os.lstat(Path(folder) / name).st_size
    return total


def _own(place: Path) -> int:
    """Make a staging place and hold its lock; a sweep may come between the two, and then all begins again."""
    while True:
        place.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.fstat(lock).st_ino == (place / _LOCK).stat().st_ino:
                    return lock
            os.close(lock)


def copy_bundle(source: Path, target: Path) -> None:
    """Copy a directory of ours to a new one, all or nothing.

    Raises:
        TargetExists: the target is there and is not empty.
        NoRoom: see there.
    """
    with disk_errors(target), beside(target):
        partial = target.parent / f".{target.name}.partial-{os.getpid()}"
        try:
            _copy_tree(source, partial)
            settle_at(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def beside(target: Path) -> Iterator[None]:
    """See that a directory can be made at a place, and make what lies above it, where the block ends well.

    Raises:
        TargetExists: something is there.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise TargetExists(f"{target} exists and is not empty")
    with made(target.parent):
        yield


def settle_at(partial: Path, target: Path) -> None:
    """Give a finished directory its name; there is nothing at it, or an empty directory."""
    sync_tree(partial)
    if target.exists():
        target.rmdir()
    partial.rename(target)
    sync(target.parent)


def _copy_tree(source: Path, target: Path) -> None:
    target.mkdir()
    target.chmod(0o755)
    for path in sorted(source.iterdir()):
        copy = target / path.name
        if path.is_dir():
            _copy_tree(path, copy)
        else:
            shutil.copyfile(path, copy)
            copy.chmod(0o644)
