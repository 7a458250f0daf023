"""Rows in blocks of whole lines: read, digested line by line, handed on as what digests are taken over."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, pairwise
from operator import attrgetter

import msgspec

from stellaops.bundles import layout, packed
from stellaops.bundles.content import RowsOutOfOrder
from stellaops.bundles.rows import Placed
from stellaops.core.canonical_json import escape
from stellaops.core.errors import InvalidInput

_BLOCK = 1 << 18
"""Bytes from which on a block is handed on: it and what is made of it should fit into a processor's own cache."""
_NEWLINE = ord("\n")
_sha256 = hashlib.sha256
_source = attrgetter("source")

Read = Callable[[bytes, int], Sequence[Placed]]
"""Reads some number of lines, each with its newline: a row for each."""
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
        trouble: why it cannot be read; empty where it could.
    """

    stretches: list[Stretch] = []
    files: list[tuple[str, str]] = []
    trouble: str = ""


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


def measure(read: Read, block: bytes, longest: int = layout.LONGEST_LINE) -> Measured:
    """Read the lines of a block, and take the digest of each.

    Trouble is a line that is none, is too long, or does not come after the one before it, and whatever else hostile
    bytes provoke.
    """
    try:
        with _collecting_nothing():
            return _measure(read, block, longest)
    except InvalidInput as error:
        return Measured(trouble=str(error))
    except Exception as error:  # noqa: BLE001 - it may happen in a child, from which nothing is raised
        return Measured(trouble=f"reading stopped: {type(error).__name__}: {ascii(str(error))[:200]}")


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Keep the collector of cycles from looking through the many objects of a block, which have none."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _measure(read: Read, block: bytes, longest: int) -> Measured:
    line_digests = _line_digests(block, longest)
    rows = read(block, len(line_digests))
    digest = iter(line_digests)
    return Measured(
        [_stretch(list(group), digest) for _, group in groupby(rows, _source)],
        [(row.file, row.digest) for row in rows if row.file is not None],
    )


def _line_digests(block: bytes, longest: int) -> list[str]:
    found = []
    whole, begin = memoryview(block), 0
    while (end := block.find(b"\n", begin)) >= 0:
        if end - begin > longest:
            raise packed.BadPacking(f"a line is longer than {longest} bytes")
        found.append(_sha256(whole[begin:end]).hexdigest())
        begin = end + 1
    return found


def _stretch(rows: Sequence[Placed], line_digests: Iterator[str]) -> Stretch:
    first = rows[0]
    keys = [row.key for row in rows]
    for last, key in pairwise(keys):
        if key <= last:
            raise RowsOutOfOrder(
                f"row {key!r:.300} of {first.source!r:.200} does not come after {last!r:.300}"
            )
    prefix = f"{escape(first.owner)}\t{escape(first.source)}\t"
    places = [f"{prefix}{key}\t" for key in _escaped(keys)]
    by_document = [f"{place}{row.digest}\n" for place, row in zip(places, rows, strict=True)]
    by_line = [f"{place}sha256:{digest}\n" for place, digest in zip(places, line_digests, strict=False)]
    return Stretch(
        first.owner, first.source, keys[0], keys[-1], len(keys),
        "".join(by_document).encode(), "".join(by_line).encode(),
    )  # fmt: skip


def _escaped(keys: list[str]) -> list[str]:
    """Keys with JSON's escapes; mostly none has any."""
    together = "".join(keys)
    return keys if escape(together) == together else [escape(key) for key in keys]
