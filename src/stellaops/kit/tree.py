"""A bundle root on disk, read without trust: regular files only, no links followed, sizes capped."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol

from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.core.errors import NotTrusted

_CHUNK = 1024 * 1024
_MOST_ENTRIES = 1_000_000


class UntrustedFile(NotTrusted):
    """A file of a bundle that is missing, is no regular file, or is larger than it may be."""

    code = "ERR_BUNDLE_FILE"


def shown(path: str) -> str:
    """A file name from a hostile disk as plain text for a message."""
    return ascii(path)[1:-1][:200]


@dataclass(frozen=True, slots=True)
class Listing:
    """Relative paths below a root, with `/`: regular files, directories, and what is neither (links, devices …)."""

    files: frozenset[str]
    directories: frozenset[str]
    others: frozenset[str]


class Readable(Protocol):
    """Where small files of a bundle are read."""

    def read(self, path: str, largest: int) -> bytes:
        """The bytes of a small file.

        Raises:
            UntrustedFile: it is not there, or larger than `largest` bytes.
        """
        ...


class Tree:
    """The files below a root directory. Symbolic links are never followed, except in the root's own path."""

    __slots__ = ("root",)

    def __init__(self, root: Path) -> None:
        self.root = root

    def listing(self) -> Listing:
        """Everything below the root.

        Raises:
            UntrustedFile: more than a million entries, or no directory.
        """
        files: set[str] = set()
        directories: set[str] = set()
        others: set[str] = set()
        waiting = [""]
        while waiting:
            for path, entry in self._entries(waiting.pop()):
                if entry.is_dir(follow_symlinks=False):
                    directories.add(path)
                    waiting.append(f"{path}/")
                else:
                    (files if entry.is_file(follow_symlinks=False) else others).add(path)
                if len(files) + len(directories) + len(others) > _MOST_ENTRIES:
                    raise UntrustedFile(f"there are more than {_MOST_ENTRIES} files")
        return Listing(frozenset(files), frozenset(directories), frozenset(others))

    def _entries(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        try:
            with os.scandir(self.root / prefix) as entries:
                for entry in entries:
                    yield prefix + entry.name, entry
        except OSError as error:
            raise UntrustedFile(f"{shown(prefix) or 'the root'} cannot be read: {error.strerror}") from error

    def open(self, path: str) -> FileIO:
        """Open a regular file for reading.

        Raises:
            UntrustedFile: missing, not readable, or not a regular file reached by real directories only.
        """
        try:
            descriptor = self._descriptor(path.split("/"))
        except OSError as error:
            raise UntrustedFile(f"{shown(path)} cannot be read: {error.strerror}") from error
        file = os.fdopen(descriptor, "rb", buffering=0)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise UntrustedFile(f"{shown(path)} is not a regular file")
        return file

    def _descriptor(self, parts: list[str]) -> int:
        directory = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for parent in parts[:-1]:
                inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                os.close(directory)
                directory = inner
            # A pipe in place of a file must not make the reader wait for its other end.
            return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        finally:
            os.close(directory)

    def read(self, path: str, largest: int) -> bytes:
        """The bytes of a small file.

        Raises:
            UntrustedFile: as `open`, or larger than `largest` bytes.
        """
        pieces = []
        size = 0
        for piece in self.chunks(path):
            size += len(piece)
            if size > largest:
                raise UntrustedFile(f"{shown(path)} has more than {largest} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of a file in pieces of at most 1 MiB.

        Raises:
            UntrustedFile: as `open`.
        """
        with self.open(path) as file:
            while True:
                try:
                    piece = file.read(_CHUNK)
                except OSError as error:
                    raise UntrustedFile(f"{shown(path)} cannot be read: {error.strerror}") from error
                if not piece:
                    return
                yield piece

    def size(self, path: str) -> int:
        """Bytes of a file.

        Raises:
            UntrustedFile: as `open`.
        """
        with self.open(path) as file:
            return os.fstat(file.fileno()).st_size

    def measure(self, path: str, largest: int) -> tuple[Digest, int]:
        """Digest and size of a file; reading stops after `largest` bytes and one piece.

        Raises:
            UntrustedFile: as `open`.
        """
        hasher = hashlib.sha256()
        size = 0
        for piece in self.chunks(path):
            hasher.update(piece)
            size += len(piece)
            if size > largest:
                break
        return digests.of_hash(hasher), size
