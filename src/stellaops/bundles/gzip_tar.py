"""Gzip tars with the same bytes on every machine: no owner, no time, members in the order given.

The standard library's deflate differs from build to build, so the pack is made by libdeflate, whose output depends on
its version alone. It packs whole buffers: the tar is cut into pieces, each a gzip member of its own, which every gzip
reader joins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import deflate

from stellaops.bundles.tar import END, LONGEST_NAME, header, padding

__all__ = ["END", "LEVEL", "LONGEST_NAME", "PIECE", "header", "padding", "write"]

LEVEL = 6
PIECE = 4 << 20


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
