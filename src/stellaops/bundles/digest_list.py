"""The lines that a content digest is taken over, kept, so that the digest of a changed set needs none of its rows.

The digest of a row set or of a snapshot is the SHA-256 of its `owner⇥source⇥key⇥digest⏎` lines in order. Kept as a
file, they are a hundred bytes a row, and a set with some rows set or removed has its digest at the speed of hashing.

A file is zstd frames of some hundred lines each, then a directory of them (JSON: packed length, unpacked length,
number of lines, place of the first line), then the directory's length in eight bytes and `MAGIC`. It is a cache on the
machine that made it and never travels.
"""

from __future__ import annotations

import hashlib
import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import BinaryIO

import msgspec
from backports import zstd

from stellaops.core import digests
from stellaops.core.canonical_json import escape
from stellaops.core.digests import Digest
from stellaops.core.errors import NotTrusted

MAGIC = b"STELDL01"
BLOCK_BYTES = 32 << 10
_LEVEL = 1
_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: _LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
}
_READ_AHEAD = 4 << 20
_FOOTER = 8 + len(MAGIC)

Place = tuple[str, str, str]
"""Owner, source and key of a row."""


class DamagedDigestList(NotTrusted):
    """A kept list that is not what its digest says; it can be made again from the evidence."""

    code = "ERR_DIGEST_LIST_DAMAGED"
    hint = "Submit the run again: the list was a cache, is removed, and is made again."


class _Block(msgspec.Struct, frozen=True, array_like=True):
    packed: int
    size: int
    lines: int
    first: str


class DigestListWriter:
    """Writes a list line by line."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._blocks: list[_Block] = []
        self._pending: list[bytes] = []
        self._held = 0

    def add(self, line: bytes) -> None:
        """Take the next line, with its newline; the order is the caller's business."""
        self._pending.append(line)
        self._held += len(line)
        if self._held >= BLOCK_BYTES:
            self._flush()

    def add_all(self, lines: list[bytes]) -> None:
        """Take several lines."""
        self._flush()
        per_block = max(1, len(lines) * BLOCK_BYTES // max(1, sum(map(len, lines))))
        # What is a little more than a block stays one.
        many = len(lines) if len(lines) <= 2 * per_block else per_block
        for begin in range(0, len(lines), max(1, many)):
            self._pending = lines[begin : begin + many]
            self._flush()

    def add_block(self, block: _Block, packed: bytes | memoryview) -> None:
        """Take lines that are packed already."""
        self._flush()
        self._blocks.append(block)
        self._out.write(packed)

    def close(self) -> None:
        """Write the directory; the file stays open."""
        self._flush()
        directory = msgspec.json.encode(self._blocks)
        self._out.write(directory + len(directory).to_bytes(8, "big") + MAGIC)

    def _flush(self) -> None:
        if self._pending:
            first = self._pending[0].decode().rpartition("\t")[0]
            data = b"".join(self._pending)
            packed = zstd.compress(data, options=_OPTIONS)
            self._blocks.append(_Block(len(packed), len(data), len(self._pending), first))
            self._out.write(packed)
            self._pending, self._held = [], 0


class DigestList:
    """A kept list, open for reading.

    Args:
        file: must stay open as long as the list is read.
        digest: what the lines must hash to; checked by whoever reads all of them.

    Raises:
        DamagedDigestList: the file is no list.
    """

    def __init__(self, file: BinaryIO, digest: Digest) -> None:
        self._file = file
        self.digest = digest
        self._blocks = self._directory()
        self._firsts = [_places(block.first) for block in self._blocks]
        self._offsets = list(accumulate((block.packed for block in self._blocks), initial=0))
        self.records = sum(block.lines for block in self._blocks)

    def lines(self) -> Iterator[tuple[Place, str]]:
        """Place and digest of each row, in order.

        Raises:
            DamagedDigestList: at the end, where the lines do not give the list's digest.
        """
        hasher = hashlib.sha256()
        for _, _, data in self.blocks(0, len(self._blocks)):
            hasher.update(data)
            yield from map(place_and_digest, data.splitlines())
        self.check(hasher)

    def check(self, hasher: hashlib._Hash) -> None:
        """Refuse a list whose lines were hashed and gave something else.

        Raises:
            DamagedDigestList: see there.
        """
        if digests.of_hash(hasher) != self.digest:
            raise DamagedDigestList(f"the kept list of {self.digest} gives {digests.of_hash(hasher)}")

    def block_of(self, place: Place) -> int:
        """The number of the block in which a place stands, or would stand."""
        return max(0, bisect_right(self._firsts, place) - 1)

    def __len__(self) -> int:
        return len(self._blocks)

    def blocks(self, begin: int, end: int) -> Iterator[tuple[_Block, memoryview, bytes]]:
        """Some blocks: what the directory says, packed, unpacked.

        Raises:
            DamagedDigestList: a block is not what the directory says.
        """
        for first, last in self._groups(begin, end):
            self._file.seek(self._offsets[first])
            together = memoryview(self._file.read(self._offsets[last] - self._offsets[first]))
            for number in range(first, last):
                start = self._offsets[number] - self._offsets[first]
                packed = together[start : start + self._blocks[number].packed]
                yield self._blocks[number], packed, self._unpacked(number, packed)

    def _groups(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Blocks that are read together."""
        while begin < end:
            after = bisect_right(self._offsets, self._offsets[begin] + _READ_AHEAD) - 1
            last = min(end, max(begin + 1, after))
            yield begin, last
            begin = last

    def _unpacked(self, number: int, packed: memoryview) -> bytes:
        try:
            data = zstd.decompress(packed)
        except zstd.ZstdError as error:
            raise DamagedDigestList(f"the kept list of {self.digest}: {error}") from error
        if len(data) != self._blocks[number].size:
            raise DamagedDigestList(f"the kept list of {self.digest}: a block has another size")
        return data

    def _directory(self) -> list[_Block]:
        end = self._file.seek(0, io.SEEK_END)
        try:
            self._file.seek(end - _FOOTER)
            footer = self._file.read(_FOOTER)
            length = int.from_bytes(footer[:8], "big")
            if footer[8:] != MAGIC or length > end - _FOOTER:
                raise DamagedDigestList(f"the kept list of {self.digest} has no end")
            self._file.seek(end - _FOOTER - length)
            return msgspec.json.decode(self._file.read(length), type=list[_Block])
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise DamagedDigestList(f"the kept list of {self.digest}: {error}") from error


class AmendedList:
    """A list with some rows set or removed, written as a list of its own while the digest is taken.

    Args:
        base: what it was; None for nothing.
        out: the file of the amended list.
    """

    def __init__(self, base: DigestList | None, out: BinaryIO) -> None:
        self._base = base
        self._writer = DigestListWriter(out)
        self._hasher, self._base_hasher = hashlib.sha256(), hashlib.sha256()
        self._next = 0  # the first block of the base that was not looked at
        self._lines: list[bytes] = []  # those of the block that is being amended
        self._records = 0
        self._last: Place | None = None

    def set(self, place: Place, digest: str | None) -> str | None:
        """Give a row its digest, or remove it with None; places must come in strictly ascending order.

        Returns:
            the digest that it had; None where it was not there.

        Raises:
            DamagedDigestList: the base is.
            ValueError: the order.
        """
        if self._last is not None and place <= self._last:
            raise ValueError(f"{place!r:.300} does not come after {self._last!r:.300}")
        self._last = place
        self._reach(place)
        number = bisect_left(self._lines, place, key=_place_key)
        found = number < len(self._lines) and _place_key(self._lines[number]) == place
        before = place_and_digest(self._lines[number])[1] if found else None
        line = [] if digest is None else [line_of(place, digest)]
        self._lines[number : number + found] = line
        return before

    def finish(self) -> tuple[Digest, int]:
        """Take over the rest; digest and number of rows of the amended list.

        Raises:
            DamagedDigestList: the base is.
        """
        self._flush()
        if self._base is not None:
            self._copy(len(self._base))
            self._base.check(self._base_hasher)
        self._writer.close()
        return digests.of_hash(self._hasher), self._records

    def _reach(self, place: Place) -> None:
        """Have the lines of the place's block at hand."""
        if self._base is None or not len(self._base):
            if len(self._lines) > 1000:
                self._flush()
            return
        wanted = self._base.block_of(place)
        if wanted < self._next:
            return
        self._flush()
        self._copy(wanted)
        for _, _, data in self._base.blocks(wanted, wanted + 1):
            self._base_hasher.update(data)
            self._lines = data.splitlines(keepends=True)
        self._next = wanted + 1

    def _copy(self, end: int) -> None:
        if self._base is None:
            return
        for block, packed, data in self._base.blocks(self._next, end):
            self._base_hasher.update(data)
            self._hasher.update(data)
            self._records += block.lines
            self._writer.add_block(block, packed)
        self._next = max(self._next, end)

    def _flush(self) -> None:
        self._writer.add_all(self._lines)
        self._hasher.update(b"".join(self._lines))
        self._records += len(self._lines)
        self._lines = []


def line_of(place: Place, digest: str) -> bytes:
    """A line of the list: what a content digest is taken over."""
    owner, source, key = place
    return f"{escape(owner)}\t{escape(source)}\t{escape(key)}\t{digest}\n".encode()


def place_and_digest(line: bytes) -> tuple[Place, str]:
    """What a line says; the newline at its end may be there or not."""
    place, _, digest = line.decode().rpartition("\t")
    return _places(place), digest.rstrip("\n")


def _place_key(line: bytes) -> Place:
    return place_and_digest(line)[0]


def _places(text: str) -> Place:
    owner, source, key = text.split("\t")
    if "\\" in text:
        return _unescape(owner), _unescape(source), _unescape(key)
    return owner, source, key


def _unescape(text: str) -> str:
    return msgspec.json.decode(f'"{text}"'.encode(), type=str)
