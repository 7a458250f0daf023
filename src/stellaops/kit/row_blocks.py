"""Rows in blocks of whole lines: parsed and digested line by line, handed on as what digests are taken over."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import msgspec

from stellaops.bundles import layout, packed
from stellaops.bundles.content import RowsOutOfOrder
from stellaops.bundles.rows import Row
from stellaops.core.canonical_json import escape

_BLOCK = 1 << 20
_NEWLINE = ord("\n")
_sha256 = hashlib.sha256

Parse = Callable[[bytes], Row]
Block = tuple[memoryview, ...]
"""Whole lines, in as many parts as they came in."""


class Stretch(msgspec.Struct, array_like=True):
    """Rows of one owner and source that follow each other.

    Attributes:
        first, last: the keys of the first and the last.
        places: a line `owner⇥source⇥key⇥digest⏎` for each, by the digest of its document.
        rows: the same by the digest of its line.
    """

    owner: str
    source: str
    first: str
    last: str
    records: int
    places: bytes
    rows: bytes


class Measured(msgspec.Struct, array_like=True):
    """What a block of lines comes down to.

    Attributes:
        files: files that rows name, with the digests that they state.
    """

    stretches: list[Stretch]
    files: list[tuple[str, str]]


def blocks(pieces: Iterable[bytes], longest: int = layout.LONGEST_LINE) -> Iterator[Block]:
    """Cut bytes into blocks of whole lines, each with its newline at the end.

    Raises:
        BadPacking: a line longer than `longest` bytes, or no newline at the end.
    """
    pending: list[memoryview] = []
    held = 0
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        rest = memoryview(piece)
        if end and held + end >= _BLOCK:
            yield (*pending, rest[:end])
            pending, held, rest = [], 0, rest[end:]
        if rest:
            pending.append(rest)
            held += len(rest)
            if held > longest + _BLOCK:
                raise packed.BadPacking(f"a line is longer than {longest} bytes")
    if pending:
        if pending[-1][-1] != _NEWLINE:
            raise packed.BadPacking("the last line has no newline")
        yield tuple(pending)


def measure(parse: Parse, block: bytes, longest: int = layout.LONGEST_LINE) -> Measured:
    """Parse the lines of a block.

    Raises:
        InvalidInput: a line that is none, is too long, or does not come after the one before it.
    """
    found = Measured([], [])
    gathered = _Gathered("", "")
    last: str | None = None
    for line in block.split(b"\n")[:-1]:
        if len(line) > longest:
            raise packed.BadPacking(f"a line is longer than {longest} bytes")
        row = parse(line)
        key = row.key
        if last is None or row.source != gathered.source or row.owner != gathered.owner:
            gathered.end(found, last)
            gathered, last = _Gathered(row.owner, row.source, key), None
        if last is not None and key <= last:
            raise RowsOutOfOrder(f"row {key!r:.300} of {row.source!r:.200} does not come after {last!r:.300}")
        last = key
        place = f"{gathered.prefix}{escape(key)}\t"
        gathered.places.append(f"{place}{row.digest}\n")
        gathered.rows.append(f"{place}sha256:{_sha256(line).hexdigest()}\n")
        if row.file is not None:
            found.files.append((row.file, row.digest))
    gathered.end(found, last)
    return found


class _Gathered:
    """The rows of one owner and source so far."""

    __slots__ = ("first", "owner", "places", "prefix", "rows", "source")

    def __init__(self, owner: str, source: str, first: str = "") -> None:
        self.owner, self.source, self.first = owner, source, first
        self.prefix = f"{escape(owner)}\t{escape(source)}\t"
        self.places: list[str] = []
        self.rows: list[str] = []

    def end(self, found: Measured, last: str | None) -> None:
        if last is not None:
            places, rows = "".join(self.places).encode(), "".join(self.rows).encode()
            found.stretches.append(
                Stretch(self.owner, self.source, self.first, last, len(self.rows), places, rows)
            )
