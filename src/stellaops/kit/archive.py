"""A mirror archive read once from front to end: nothing is written to disk, and nothing in it is believed.

The reader knows one form of a header, of a frame and of an end, and refuses every other: names that leave the
directory, links, devices, extended headers, doubled members, bombs, a second frame and trailing bytes have no place
in it. What it may hold, and how large each file is, the caller says after it has checked the signatures at its head.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from stellaops.bundles import files_manifest, layout, manifest, packed, provenance, tar, tar_zst
from stellaops.bundles.packed import BadPacking
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.kit.tree import Listing, UntrustedFile, shown

_CHUNK = 1024 * 1024
_NO_LIMIT = 1 << 62  # the members bound what is unpacked, one by one
_LARGEST_SIGNATURE = 64 * 1024
_LARGEST_STATEMENT = provenance.LARGEST * 4 // 3 + _LARGEST_SIGNATURE
_MOST_SIGNATURES = 32

Take = Callable[[str, Iterator[bytes]], None]
"""Takes a file of the bundle as it passes: its path, and its bytes in pieces."""


class BadArchive(BadPacking):
    """A file that is no mirror archive, or one that is damaged or was made by other rules."""

    code = "ERR_MIRROR_ARCHIVE"
    hint = "Fetch the archive again, and compare its SHA-256 with the file beside it."


class ArchiveTree:
    """The files of a mirror archive, read as `kit.tree.Tree` is where they are small.

    `read` knows the head (manifests and signatures) from the beginning, and the other small files after `pass_over`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest: Digest | None = None
        """SHA-256 of the whole file, once all of it has been read."""
        self._file = _opened(path)
        self._hasher = hashlib.sha256()
        self._members = _Members(packed.unzstd(self._framed(), _NO_LIMIT))
        self._kept: dict[str, bytes] = {}
        self._measured: dict[str, tuple[Digest, int]] = {}
        self._next: tuple[str, int] | None = None
        self._trouble: BadPacking | None = None
        self._read_head()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, path: str, largest: int) -> bytes:
        """The bytes of a small file that has passed.

        Raises:
            UntrustedFile: it is not there, or larger than `largest` bytes.
        """
        held = self._kept.get(path)
        if held is None:
            reason = f": {self._trouble}" if self._trouble else ""
            raise UntrustedFile(f"{shown(path)} is not in its place in the archive{reason}")
        if len(held) > largest:
            raise UntrustedFile(f"{shown(path)} has more than {largest} bytes")
        return held

    def listing(self) -> Listing:
        """The files that have passed."""
        return Listing(frozenset((*self._kept, *self._measured)), frozenset(), frozenset())

    def measure(self, path: str, largest: int) -> tuple[Digest, int]:
        """Digest and size of a file that has passed.

        Raises:
            UntrustedFile: it has not.
        """
        del largest  # a file larger than its entry says ends the pass
        found = self._measured.get(path)
        if found is None:
            raise UntrustedFile(f"{shown(path)} is not in its place in the archive")
        return found

    def pass_over(self, sizes: Mapping[str, int], small: Mapping[str, int], take: Take) -> None:
        """Read all that follows the head: exactly these files, in the order of archives, and the end.

        Args:
            sizes: bytes of each file, as signed.
            small: of files to keep, the bytes that they may have; `read` gives them then.
            take: gets every other file; what it leaves unread is read for it.

        Raises:
            BadArchive: anything else is there.
        """
        if self._trouble is not None:
            raise BadArchive(str(self._trouble))
        try:
            for path in tar_zst.in_order({*sizes, *small} - self._kept.keys()):
                self._one(path, sizes.get(path), small.get(path), take)
            if self._next is not None:
                raise BadArchive(f"{shown(self._next[0])} is explained by nothing, or not in its place")
        except BadPacking as error:
            raise BadArchive(str(error)) from error
        self.digest = digests.of_hash(self._hasher)

    def _one(self, path: str, size: int | None, largest: int | None, take: Take) -> None:
        if self._next is None or self._next[0] != path:
            there = f"{shown(self._next[0])} stands" if self._next else "the archive ends"
            raise BadArchive(f"{path} is missing: {there} in its place")
        stated = self._next[1]
        if size is not None and stated != size:
            raise BadArchive(f"{path} has {stated} bytes, files.json states {size}")
        if largest is not None and stated > largest:
            raise BadArchive(f"{path} has more than {largest} bytes")
        measured = _Measured(self._members.chunks(stated))
        if largest is None:
            take(path, iter(measured))
        else:
            self._kept[path] = b"".join(measured)
        for _ in measured:
            pass  # what was left unread
        self._measured[path] = (measured.digest(), stated)
        self._next = self._members.after(stated)

    def _read_head(self) -> None:
        """Manifests and signatures, each within its bound; the rest waits for the caller's word."""
        try:
            self._next = self._members.first()
            for path in (layout.MANIFEST, layout.FILES):
                largest = manifest.LARGEST if path == layout.MANIFEST else files_manifest.LARGEST
                if self._next is None or self._next[0] != path:
                    raise BadArchive(f"{path} does not stand at the head of the archive")
                self._keep(largest)
            while self._next is not None and self._next[0].startswith(layout.SIGNATURES):
                if len(self._kept) > _MOST_SIGNATURES:
                    raise BadArchive(f"there are more than {_MOST_SIGNATURES} signatures")
                if list(self._kept)[-1] >= self._next[0] and len(self._kept) > 2:
                    raise BadArchive(f"{shown(self._next[0])} is not in its place")
                whole = self._next[0] == layout.PROVENANCE_BUNDLE
                self._keep(_LARGEST_STATEMENT if whole else _LARGEST_SIGNATURE)
        except BadPacking as error:
            self._trouble = error

    def _keep(self, largest: int) -> None:
        assert self._next is not None  # noqa: S101 - the caller has looked
        path, size = self._next
        if path in self._kept:
            raise BadArchive(f"{shown(path)} is there twice")
        if size > largest:
            raise BadArchive(f"{shown(path)} has more than {largest} bytes")
        data = b"".join(self._members.chunks(size))
        self._kept[path] = data
        self._measured[path] = (digests.sha256(data), size)
        self._next = self._members.after(size)

    def _framed(self) -> Iterator[bytes]:
        """The file in pieces, whose first bytes must be those of the only frame there may be."""
        first = True
        while True:
            try:
                chunk = self._file.read(_CHUNK)
            except OSError as error:
                raise BadArchive(f"{self.path.name} cannot be read: {error.strerror}") from error
            if not chunk:
                return
            if first and not chunk.startswith(tar_zst.FRAME_HEADER):
                raise BadArchive("it does not begin as the zstd frame of a mirror archive")
            first = False
            self._hasher.update(chunk)
            yield chunk


def _opened(path: Path) -> BinaryIO:
    # A pipe in place of the file must not make the reader wait for its other end.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise UntrustedFile(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UntrustedFile(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb", buffering=0)


class _Measured:
    """Pieces of a file, with their digest."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._hasher = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hasher.update(chunk)
            yield chunk

    def digest(self) -> Digest:
        return digests.of_hash(self._hasher)


class _Members:
    """The tar inside, header by header, each in its one valid form."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._pending = memoryview(b"")

    def first(self) -> tuple[str, int] | None:
        """Path and size of the first member; None at the end of the archive."""
        header = self._exactly(tar.BLOCK)
        if not header.strip(b"\0"):
            self._end(header)
            return None
        name = header[:100].rstrip(b"\0").decode("ascii", "replace")
        try:
            size = int(header[124:135], 8)
            canonical = tar.header(name, size) == header
        except ValueError:
            canonical = False
        path = name.removeprefix(tar_zst.FOLDER)
        if not canonical or path == name or not layout.is_portable(path):
            raise BadArchive(f"member {name!r:.120} has a header that archives do not have")
        return path, size

    def after(self, size: int) -> tuple[str, int] | None:
        """The member that follows one of some size, all of which was read."""
        if self._exactly(-size % tar.BLOCK).strip(b"\0"):
            raise BadArchive("something stands between two members")
        return self.first()

    def chunks(self, size: int) -> Iterator[bytes]:
        """The next bytes in pieces."""
        while size:
            if not self._pending:
                self._pending = memoryview(next(self._pieces, b""))
                if not self._pending:
                    raise BadArchive("the archive is cut short")
            part = self._pending[:size]
            self._pending = self._pending[len(part) :]
            size -= len(part)
            yield bytes(part)

    def _exactly(self, size: int) -> bytes:
        return b"".join(self.chunks(size))

    def _end(self, first: bytes) -> None:
        if first + self._exactly(tar.BLOCK) != tar.END:
            raise BadArchive("the archive does not end as archives do")
        if self._pending or any(self._pieces):
            raise BadArchive("something follows the end of the archive")
