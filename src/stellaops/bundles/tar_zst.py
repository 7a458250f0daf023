"""Mirror archives: one zstd frame over a plain tar, the same bytes on every machine.

The data in it is packed already, so the outer frame is of the lowest level; it is there for its checksum and for the
tools that expect a `.tar.zst`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import BinaryIO

from backports import zstd

from stellaops.bundles import layout, tar
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput

LEVEL = 1
WINDOW_LOG = 19
FRAME_HEADER = bytes.fromhex("28b52ffd0448")
"""The only header that an archive's frame may have: no size, a checksum, a window of 512 KiB."""
FOLDER = "mirror/"
"""What every member's name begins with."""

_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: LEVEL,
    zstd.CompressionParameter.window_log: WINDOW_LOG,
    zstd.CompressionParameter.checksum_flag: 1,
    zstd.CompressionParameter.nb_workers: 2,
}


class NotPackable(InvalidInput):
    """A file that a mirror archive cannot carry."""

    code = "ERR_MIRROR_NOT_PACKABLE"
    hint = "Narrow what the profile includes; a single file of a mirror may have up to 8 GiB."


def in_order(paths: Iterable[str]) -> list[str]:
    """The paths of a bundle root in the order of the archive: what a reader checks before it trusts comes first."""

    def order(path: str) -> tuple[int, bytes]:
        first = {layout.MANIFEST: 0, layout.FILES: 1}.get(path)
        rank = first if first is not None else 2 if path.startswith(layout.SIGNATURES) else 3
        return rank, path.encode()

    return sorted(paths, key=order)


class ArchiveWriter:
    """Writes an archive member by member, in the order of `in_order`."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._compressor = zstd.ZstdCompressor(options=_OPTIONS)
        self._hasher = hashlib.sha256()
        self.size = 0

    def add(self, path: str, size: int, chunks: Iterable[bytes]) -> None:
        """Add a file of the bundle root.

        Raises:
            NotPackable: a name or size that a plain tar does not carry, or chunks of another size.
        """
        try:
            self._write(tar.header(f"{FOLDER}{path}", size))
        except ValueError as error:
            raise NotPackable(str(error)) from error
        left = size
        for chunk in chunks:
            left -= len(chunk)
            self._write(chunk)
        if left:
            raise NotPackable(
                f"{path} has another size than {size} bytes: it was changed while it was packed"
            )
        self._write(tar.padding(size))

    def finish(self) -> Digest:
        """End the archive; SHA-256 of its bytes."""
        self._write(tar.END)
        self._put(self._compressor.flush())
        return digests.of_hash(self._hasher)

    def _write(self, data: bytes) -> None:
        self._put(self._compressor.compress(data))

    def _put(self, packed: bytes) -> None:
        if packed:
            self._hasher.update(packed)
            self._out.write(packed)
            self.size += len(packed)


def digest_line(digest: Digest, name: str) -> bytes:
    """The file `….sha256` beside an archive, as `sha256sum --check` reads it."""
    return f"{digest.removeprefix(digests.PREFIX)}  {name}\n".encode()
