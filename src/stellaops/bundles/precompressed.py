"""`X.gz` and `X.zst` beside a file X: what a web server sends to clients that take it, packed once.

Each is one member or frame, since not every HTTP client reads on after the first. Small files are packed by libdeflate,
large ones by zlib, which can do it piece by piece.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import deflate
from backports import zstd

SMALLEST = 1024
"""Bytes that a file must have to be worth it."""

_LEVEL = 6
_ZSTD_LEVEL = 6
_WHOLE = 16 << 20
_PIECE = 1 << 20
_GZIP = 31  # window of 32 KiB, and the header and trailer of gzip


def pack_beside(file: Path) -> tuple[Path, ...]:
    """Write the packed forms of a file that are smaller than it; those that were written."""
    size = file.stat().st_size
    if size <= SMALLEST:
        return ()
    made = []
    for suffix, packed in _FORMS.items():
        target = file.with_name(file.name + suffix)
        with target.open("xb") as out:
            out.writelines(packed(file, size))
            smaller = out.tell() < size
        if smaller:
            made.append(target)
        else:
            target.unlink()
    return tuple(made)


def _gzip(file: Path, size: int) -> Iterator[bytes]:
    if size <= _WHOLE:
        yield bytes(deflate.gzip_compress(file.read_bytes(), _LEVEL))
        return
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    for piece in _pieces(file):
        yield packer.compress(piece)
    yield packer.flush()


def _zstd(file: Path, size: int) -> Iterator[bytes]:
    packer = zstd.ZstdCompressor(
        options={
            zstd.CompressionParameter.compression_level: _ZSTD_LEVEL,
            zstd.CompressionParameter.checksum_flag: 1,
        }
    )
    packer.set_pledged_input_size(size)
    for piece in _pieces(file):
        yield packer.compress(piece)
    yield packer.flush()


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            yield piece


_FORMS: dict[str, Callable[[Path, int], Iterator[bytes]]] = {".gz": _gzip, ".zst": _zstd}
SUFFIXES = tuple(_FORMS)
