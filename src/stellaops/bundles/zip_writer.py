"""Zip archives with the same bytes on every machine: no time, no owner, members in the order given.

Members are packed by libdeflate, whose output depends on its version alone; the standard library's differs from build
to build. A packed member can go into several archives.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import deflate

_LEVEL = 6
_STORED, _DEFLATED = 0, 8
_UTF8 = 1 << 11
_TIME, _DATE = 0, (0 << 9) | (1 << 5) | 1  # 1980-01-01, the first day that the format knows
_MODE = 0o100644 << 16
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_MOST_16, _MOST_32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Packed:
    """A member's content as it stands in an archive."""

    method: int
    crc: int
    size: int
    data: bytes


def pack(data: bytes) -> Packed:
    """Pack the content of a member, of less than 4 GiB."""
    smaller = deflate.deflate_compress(data, _LEVEL)
    crc = zlib.crc32(data)
    if len(smaller) < len(data):
        return Packed(_DEFLATED, crc, len(data), bytes(smaller))
    return Packed(_STORED, crc, len(data), data)


class ZipWriter:
    """An archive that grows; the file must be empty."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._directory: list[bytes] = []
        self._place = 0

    def add(self, name: str, member: Packed) -> None:
        """Add a member under a name that is not in the archive yet."""
        text = name.encode()
        flags = 0 if text.isascii() else _UTF8
        sizes = (member.crc, len(member.data), member.size)
        version = 45 if self._place >= _MOST_32 else 20
        head = (version, flags, member.method, _TIME, _DATE, *sizes, len(text))
        extra, place = b"", self._place
        if place >= _MOST_32:
            extra, place = struct.pack("<2HQ", 1, 8, place), _MOST_32
        self._directory.append(
            _CENTRAL.pack(b"PK\x01\x02", (3 << 8) | version, *head, len(extra), 0, 0, 0, _MODE, place)
            + text
            + extra
        )
        self._write(_LOCAL.pack(b"PK\x03\x04", *head, 0), text, member.data)

    def finish(self) -> None:
        """Write the directory."""
        start, count = self._place, len(self._directory)
        self._write(*self._directory)
        size = self._place - start
        if count >= _MOST_16 or start >= _MOST_32 or size >= _MOST_32:
            end = self._place
            self._write(
                _END64.pack(b"PK\x06\x06", 44, (3 << 8) | 45, 45, 0, 0, count, count, size, start),
                _LOCATOR.pack(b"PK\x06\x07", 0, end, 1),
            )
        count, size, start = min(count, _MOST_16), min(size, _MOST_32), min(start, _MOST_32)
        self._write(_END.pack(b"PK\x05\x06", 0, 0, count, count, size, start, 0))

    def _write(self, *pieces: bytes) -> None:
        self._out.writelines(pieces)
        self._place += sum(map(len, pieces))
