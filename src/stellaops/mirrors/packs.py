"""The many small files of a tree in a few packs, for places that keep few large things better than many small ones.

A pack is a tar of files in the order of their paths, as a frame of zstd. Where one ends follows from each file's own
path and size, so that a file that changes, comes or goes changes the pack that it is in and leaves the others as they
are.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from backports import zstd

from stellaops.mirrors.errors import BadTree

LARGE = 1 << 20
"""Bytes from which a file travels alone."""
MIDDLING = 4 << 20
"""Bytes that a pack has in the middle."""
LARGEST = 16 << 20
"""Bytes that the files of a pack have at most, with their headers."""
LARGEST_PACKED = LARGEST + (1 << 20)
"""Bytes of the largest pack as it travels."""
_HEADER = 1024  # of a tar, and on average the rest of a file's last block
_MOST_OPENED = 3 * LARGEST  # long names have more headers than others
_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.checksum_flag: 1,
}


def grouped(files: Iterable[tuple[str, int]]) -> Iterator[tuple[str, ...]]:
    """Paths that travel in one pack, pack by pack.

    Args:
        files: path and size of each file below `LARGE`, sorted by path.
    """
    group: list[str] = []
    total = 0
    for path, size in files:
        if total + size + _HEADER > LARGEST:
            yield tuple(group)
            group, total = [], 0
        group.append(path)
        total += size + _HEADER
        if _chance(path) < size + _HEADER:
            yield tuple(group)
            group, total = [], 0
    if group:
        yield tuple(group)


def _chance(path: str) -> int:
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) % MIDDLING


def pack(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Files as a packed tar, without anything of the machine it is made on."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in files:
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return zstd.compress(out.getvalue(), options=_OPTIONS)


def unpack(data: bytes) -> Mapping[str, bytes]:
    """The files of a pack by path; nobody has said yet that they are right.

    Raises:
        BadTree: it is none, or a larger one than is made.
    """
    found: dict[str, bytes] = {}
    try:
        opened = zstd.ZstdDecompressor().decompress(data, _MOST_OPENED)
        with tarfile.open(fileobj=io.BytesIO(opened), mode="r:") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None:
                    found[member.name] = file.read()
    except (zstd.ZstdError, tarfile.TarError, ValueError, OSError) as error:
        raise BadTree(f"a pack of files cannot be read: {error}") from error
    return found


class Shelf:
    """Which pack a file is in.

    Args:
        firsts: the first path of each pack, sorted.
    """

    def __init__(self, firsts: Sequence[str]) -> None:
        self._firsts = firsts

    def number(self, path: str) -> int | None:
        """The pack that has a path, if any has; None before the first one."""
        place = bisect_right(self._firsts, path)
        return place - 1 if place else None
