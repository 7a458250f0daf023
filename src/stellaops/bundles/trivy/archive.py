"""`trivy/db.bundle`: a gzip tar of `metadata.json` and `trivy.db`, the same bytes on every machine.

The standard library's deflate differs from build to build, so the pack is made by libdeflate, whose output depends on
its version alone. It packs whole buffers: the tar is cut into pieces, each a gzip member of its own, which every gzip
reader joins.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import deflate

from stellaops.bundles.content import members_digest
from stellaops.bundles.trivy.inspect import DATABASE, METADATA
from stellaops.core import digests
from stellaops.core.digests import Digest

LEVEL = 6
PIECE = 4 << 20
_BLOCK = 512


def write_archive(out: BinaryIO, database: BinaryIO, size: int, metadata: bytes) -> Digest:
    """Pack a database and its metadata; returns the archive's content digest.

    Args:
        database: `trivy.db`, read from its present position.
        size: its bytes.
    """
    hasher = hashlib.sha256()

    def tar() -> Iterator[bytes]:
        yield _header(METADATA, len(metadata)) + metadata + _padding(len(metadata))
        yield _header(DATABASE, size)
        while chunk := database.read(1 << 20):
            hasher.update(chunk)
            yield chunk
        yield _padding(size) + bytes(2 * _BLOCK)

    out.writelines(deflate.gzip_compress(piece, LEVEL) for piece in _pieces(tar()))
    return members_digest({METADATA: digests.sha256(metadata), DATABASE: digests.of_hash(hasher)})


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        while len(pending) >= PIECE:
            yield bytes(pending[:PIECE])
            del pending[:PIECE]
    if pending:
        yield bytes(pending)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
