"""Zip archives read one entry at a time, in constant memory and without trust in what they claim.

The standard library keeps an object for every entry of the archive; archives of advisories have a million. This
reader walks the central directory in a sliding view and unpacks only stored and deflated entries: any other method,
encryption or a broken entry is reported for that entry and stops nothing.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import deflate

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL_SIZE = 30
_SATURATED = 0xFFFFFFFF
_FORGET_AFTER = 32 << 20
# Two bits of a deflate stream stand for 258 bytes at most: a claim of more is none to reserve memory for.
_LARGEST_RATIO = 1032


class BadZip(ValueError):
    """The file as a whole is no readable zip archive."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive; `problem` says why `content` is empty."""

    name: str
    content: bytes
    problem: str = ""


def entries(path: Path, *, limit: int, wanted: Callable[[str], bool] | None = None) -> Iterator[Entry]:
    """The files of an archive in the order of its directory; directories are left out.

    Args:
        limit: the largest unpacked size of one entry.
        wanted: tells of a name whether it is; the other files are passed over and not unpacked. All where None.

    Raises:
        BadZip: no zip archive, or its directory is broken.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        directory = _directory(data)
        claimed = forgettable = 0
        for header, name, extra in _headers(data, directory):
            packed, size, offset = _sizes(header, extra)
            claimed += packed if packed <= len(data) else 0
            if claimed > len(data):
                raise BadZip("entries overlap: together they claim more bytes than the file has")
            if name.endswith("/") or (wanted is not None and not wanted(name)):
                continue
            forgettable += packed
            if forgettable > _FORGET_AFTER:
                # Pages of the archive that were read count as this process's memory until they are let go.
                data.madvise(mmap.MADV_DONTNEED)
                forgettable = 0
            place = _Place(header[4], header[7], packed, size, offset + directory.base)
            try:
                yield Entry(name, _content(data, header, place, limit))
            except _Unreadable as error:
                yield Entry(name, b"", str(error))


@dataclass(frozen=True, slots=True)
class _Directory:
    """Where the central directory lies; `base` is what was put before the archive."""

    start: int
    size: int
    count: int
    base: int


_Header = tuple[int, ...]


def _headers(data: mmap.mmap, directory: _Directory) -> Iterator[tuple[_Header, str, bytes]]:
    position, number = directory.start, 0
    while position < directory.start + directory.size:
        if position + _CENTRAL.size > len(data) or data[position : position + 4] != b"PK\1\2":
            raise BadZip("the central directory is cut off or damaged")
        header = _CENTRAL.unpack_from(data, position)
        end = position + _CENTRAL.size + header[10]
        name_bytes = data[position + _CENTRAL.size : end]
        utf8 = header[3] & 0x800 or name_bytes.isascii()
        yield header, name_bytes.decode("utf-8" if utf8 else "cp437", "replace"), data[end : end + header[11]]
        position = end + header[11] + header[12]
        number += 1
    # Archives of more entries than the old form can count have the count's lower 16 bits.
    if position != directory.start + directory.size or (number - directory.count) & 0xFFFF:
        raise BadZip("the central directory is not as large as the archive says")


def _directory(data: mmap.mmap) -> _Directory:
    at = data.rfind(b"PK\5\6", max(0, len(data) - (1 << 16) - _END.size))
    if at < 0 or at + _END.size > len(data):
        raise BadZip("no end of central directory: the file is no zip archive, or is cut off")
    _, _, _, _, count, size, start, _ = _END.unpack_from(data, at)
    locator = at - _END64_LOCATOR.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\6\7":
        at = locator - _END64.size
        if at < 0 or data[at : at + 4] != b"PK\6\6":
            raise BadZip("the zip64 directory is damaged")
        count, size, start = _END64.unpack_from(data, at)[7:10]
    base = at - size - start
    if base < 0:
        raise BadZip("the central directory lies outside the file")
    return _Directory(at - size, size, count, base)


def _sizes(header: tuple[int, ...], extra: bytes) -> tuple[int, int, int]:
    packed, size, offset = header[8], header[9], header[16]
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            numbers = list(struct.unpack_from(f"<{length // 8}Q", extra[4 : 4 + length].ljust(length, b"\0")))
            size = numbers.pop(0) if size == _SATURATED and numbers else size
            packed = numbers.pop(0) if packed == _SATURATED and numbers else packed
            offset = numbers.pop(0) if offset == _SATURATED and numbers else offset
        extra = extra[4 + length :]
    return packed, size, offset


class _Unreadable(ValueError):
    """Why one entry cannot be had."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What the directory says of an entry."""

    method: int
    crc: int
    packed: int
    size: int
    offset: int


def _content(data: mmap.mmap, header: _Header, place: _Place, limit: int) -> bytes:
    if header[3] & 1:
        raise _Unreadable("encrypted: an encrypted archive entry cannot be read")
    if (header[15] >> 16) & 0o170000 not in (0, 0o100000):
        raise _Unreadable("not-a-file: a link or device in an archive")
    if place.size > limit or place.packed > limit + (limit >> 8):
        raise _Unreadable(f"too-large: {place.size} bytes unpacked, the limit is {limit}")
    packed = _packed_bytes(data, place)
    if place.method == 0:
        content = packed
    elif place.method == 8:
        content = _inflated(packed, place.size)
    else:
        raise _Unreadable(f"unsupported: compression method {place.method}; pack the archive with deflate")
    if len(content) != place.size or deflate.crc32(content) != place.crc:
        raise _Unreadable("damaged: size or checksum of the entry is wrong")
    return content


def _inflated(packed: bytes, size: int) -> bytes:
    if size > _LARGEST_RATIO * len(packed):
        raise _Unreadable(f"damaged: {len(packed)} packed bytes cannot be {size}")
    try:
        # An empty file needs a place to be written to all the same.
        return bytes(deflate.deflate_decompress(packed, size or 1))
    except deflate.DeflateError as error:
        raise _Unreadable(
            "damaged: the entry cannot be unpacked to the size that the directory says"
        ) from error


def _packed_bytes(data: mmap.mmap, place: _Place) -> bytes:
    offset = place.offset
    if offset + _LOCAL_SIZE > len(data) or data[offset : offset + 4] != b"PK\3\4":
        raise _Unreadable("damaged: the entry's header is not where the directory says")
    name_length, extra_length = struct.unpack_from("<HH", data, offset + 26)
    start = offset + _LOCAL_SIZE + name_length + extra_length
    if start + place.packed > len(data):
        raise _Unreadable("damaged: the entry lies outside the file")
    return data[start : start + place.packed]
