"""The tree of one side as it grows: files that the tree before it has too are linked to it, not written again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from stellaops.exports.ports import Staging


class InForce:
    """The tree that readers follow at present.

    Args:
        before: its directory; None where there is none.
    """

    def __init__(self, before: Path | None) -> None:
        self._before = before

    def before(self, path: str) -> Path | None:
        """A file or a folder of it; None where it has none."""
        found = self._before / path if self._before is not None else None
        return found if found is not None and found.exists() else None


class Tree(InForce):
    """A staged tree.

    Args:
        before: the complete tree in force, on the same disk; None where there is none.
    """

    def __init__(self, staging: Staging, before: Path | None) -> None:
        super().__init__(before)
        self._staging = staging

    @property
    def root(self) -> Path:
        """The tree under construction."""
        return self._staging.root

    @property
    def scratch(self) -> Path:
        """A place for intermediate files on the same disk."""
        return self._staging.scratch

    @contextmanager
    def spool(self) -> Iterator[BinaryIO]:
        """A nameless file on the same disk, for what does not fit into memory."""
        with TemporaryFile(dir=self.scratch) as file:
            yield file

    def create(self, path: str) -> BinaryIO:
        """Open a new file for writing and reading back."""
        return self._staging.create(path)

    def put(self, path: str, data: bytes) -> None:
        """Write a small file, over one that is there."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if self._before is not None and _holds(self._before / path, data):
            with suppress(OSError):  # as many links as the file system takes
                os.link(self._before / path, target)
                return
        target.write_bytes(data)

    def take_over(self, folder: str) -> bool:
        """Link all of a folder from the tree in force; False where that has none."""
        source = self.before(folder)
        if source is None:
            return False
        shutil.copytree(source, self.root / folder, copy_function=_link, dirs_exist_ok=True)
        return True

    def files(self, *folders: str) -> Iterator[str]:
        """Paths of all files below some folders, sorted."""
        found: list[str] = []
        for folder in folders:
            for place, _, names in os.walk(self.root / folder):
                base = Path(place).relative_to(self.root).as_posix()
                found += [f"{base}/{name}" for name in names]
        return iter(sorted(found))


def _holds(file: Path, data: bytes) -> bool:
    try:
        return file.stat().st_size == len(data) and file.read_bytes() == data
    except OSError:
        return False


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target
