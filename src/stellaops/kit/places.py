"""Digests over `owner⇥source⇥key⇥digest⏎` of rows as they pass, and of several such sequences merged into one.

The rules are those of `bundles.content`; here rows come in stretches, since a bundle has millions.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from stellaops.bundles.content import RowsOutOfOrder
from stellaops.core import digests
from stellaops.core.digests import Digest
from stellaops.kit.row_blocks import Stretch

_IN_MEMORY = 8 << 20

_Source = tuple[str, str]


class Places:
    """The rows of a set, in strictly ascending order of owner, source and key.

    With a directory their lines are kept too, on disk where they are many, so that `merged_digest` finds them again.
    """

    def __init__(self, spool: Path | None) -> None:
        self._places = hashlib.sha256()
        self._rows = hashlib.sha256()
        self._last: tuple[str, str, str] | None = None
        self._kept: IO[bytes] | None = None
        if spool is not None:
            self._kept = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(spool))  # noqa: SIM115 - see `close`
        self._ranges: dict[_Source, tuple[int, int]] = {}
        self._end = 0
        self.records = 0

    def add(self, stretch: Stretch) -> None:
        """Take the next rows, all of one owner and source.

        Raises:
            RowsOutOfOrder: they do not come after the last one.
        """
        first = (stretch.owner, stretch.source, stretch.first)
        if self._last is not None and first <= self._last:
            raise RowsOutOfOrder(f"row {first!r:.300} does not come after {self._last!r:.300}")
        self._last = (stretch.owner, stretch.source, stretch.last)
        self.records += stretch.records
        self._places.update(stretch.places)
        self._rows.update(stretch.rows)
        if self._kept is not None:
            self._kept.write(stretch.places)
        place = (stretch.owner, stretch.source)
        begin, _ = self._ranges.get(place, (self._end, 0))
        self._end += len(stretch.places)
        self._ranges[place] = (begin, self._end)

    def digest(self) -> Digest:
        """Digest of the rows by the digests of their documents."""
        return digests.of_hash(self._places)

    def rows_digest(self) -> Digest:
        """Digest of the rows by the digests of their lines: the set's content digest."""
        return digests.of_hash(self._rows)

    def lines_of(self, place: _Source) -> Iterator[bytes]:
        """The lines of an owner and source, in pieces."""
        if self._kept is None:
            raise RuntimeError("the lines were not kept")
        begin, end = self._ranges[place]
        self._kept.seek(begin)
        while begin < end:
            piece = self._kept.read(min(end - begin, 1 << 20))
            begin += len(piece)
            yield piece

    def close(self) -> None:
        """Let go of the lines that were kept."""
        if self._kept is not None:
            self._kept.close()

    def sources(self) -> list[_Source]:
        """The owners and sources that there are rows of."""
        return sorted(self._ranges)


def merged_digest(several: Sequence[Places]) -> Digest:
    """Digest of all rows in one order; each owner and source must be in one sequence alone.

    Raises:
        RowsOutOfOrder: an owner and source is in two of them.
    """
    if len(several) == 1:
        return several[0].digest()
    holders: dict[_Source, Places] = {}
    for places in several:
        for source in places.sources():
            if source in holders:
                raise RowsOutOfOrder(f"the rows of source {source[1]!r:.200} stand in two indexes")
            holders[source] = places
    hasher = hashlib.sha256()
    for source in sorted(holders):
        for piece in holders[source].lines_of(source):
            hasher.update(piece)
    return digests.of_hash(hasher)
