"""Digest lists in a directory, each named by its digest. Those that nobody used for a week are removed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from stellaops.bundles.digest_list import DamagedDigestList, DigestList
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.kit.disk import disk_errors

_UNUSED_SECONDS = 7 * 24 * 3600
_GROWING = ".growing-"


class FileKeptLists:
    """`exports.building.delta_ports.KeptLists` below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def opened(self, digest: Digest) -> Iterator[DigestList | None]:
        """See the port."""
        path = self._path(digest)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            yield None
            return
        with file:
            try:
                found = DigestList(file, digest)
            except DamagedDigestList:
                path.unlink(missing_ok=True)
                yield None
                return
            with suppress(OSError):  # a directory that cannot be written can be read
                os.utime(path)
            try:
                yield found
            except DamagedDigestList:
                path.unlink(missing_ok=True)
                raise

    @contextmanager
    def growing(self) -> Iterator[Growing]:
        """See the port."""
        with disk_errors(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            self.sweep()
            descriptor, name = tempfile.mkstemp(prefix=_GROWING, dir=self._root)
            path = Path(name)
            try:
                with os.fdopen(descriptor, "w+b") as out:
                    yield Growing(cast(BinaryIO, out), path, self._path)
            finally:
                path.unlink(missing_ok=True)

    def _path(self, digest: Digest) -> Path:
        return self._root / digest.removeprefix(digests.PREFIX)

    def sweep(self) -> int:
        """`exports.retention.ports.Lists`: see the port."""
        oldest, removed = time.time() - _UNUSED_SECONDS, 0
        for path in self._root.iterdir() if self._root.is_dir() else ():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    removed += 1
        return removed


class Growing:
    """`exports.building.delta_ports.GrowingList` in a file of its own until it is kept."""

    def __init__(self, out: BinaryIO, path: Path, place_of: Callable[[Digest], Path]) -> None:
        self.out = out
        self._path = path
        self._place_of = place_of

    def keep(self, digest: Digest) -> None:
        """See the port. A list that a power cut has damaged is found by its checksums, and made again."""
        self.out.flush()
        self._path.replace(self._place_of(digest))
