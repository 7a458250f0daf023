"""Gzip tars with the same bytes on every machine: no owner, no time, members in the order given.

The standard library's deflate differs from build to build, so the pack is made by libdeflate, whose output depends on
its version alone. It packs whole buffers: the tar is cut into pieces, each a gzip member of its own, which every gzip
reader joins.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import deflate

LEVEL = 6
PIECE = 4 << 20
LONGEST_NAME = 100
"""Bytes of a member's name that need no second field of the header."""
END = bytes(1024)

_BLOCK = 512


def header(name: str, size: int) -> bytes:
    """The header of a plain file."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """What follows a file of some size."""
    return bytes(-size % _BLOCK)


def write(out: BinaryIO, tar: Iterable[bytes]) -> None:
    """Pack the bytes of a tar."""
    out.writelines(deflate.gzip_compress(piece, LEVEL) for piece in _pieces(tar))


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        while len(pending) >= PIECE:
            yield bytes(pending[:PIECE])
            del pending[:PIECE]
    if pending:
        yield bytes(pending)
