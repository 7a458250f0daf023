"""What identifies content: digests that depend on neither shards nor compressors.

A row set is a sequence of lines, each under an owner, a source and a key, in strictly ascending order of the three. Its
digest is over `owner⇥source⇥key⇥sha256(line)⏎`, so that two row sets with the same rows have the same digest
however they are cut and packed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stellaops.core import digests
from stellaops.core.canonical_json import escape
from stellaops.core.digests import Digest
from stellaops.core.errors import InvalidInput


class RowsOutOfOrder(InvalidInput):
    """A row that does not come strictly after the one before it."""

    code = "ERR_ROWS_OUT_OF_ORDER"
    hint = "Give each (owner, source, key) once, in ascending order."


@dataclass(frozen=True, slots=True)
class Content:
    """One logical set of a bundle.

    `path` is a row set's name (`data/raw/advisories`) or a file (`trivy/db.bundle`); `records` counts its rows (of a
    database: its advisories; of another file: its entries); `content_type` is a media type.
    """

    path: str
    content_digest: Digest
    records: int
    content_type: str


class SnapshotDigest:
    """Digest over `owner⇥source⇥key⇥digest⏎` of rows in strictly ascending order of the first three."""

    __slots__ = ("_hasher", "_last", "records")

    def __init__(self) -> None:
        self._hasher = hashlib.sha256()
        self._last: tuple[str, str, str] | None = None
        self.records = 0

    def add(self, owner: str, source: str, key: str, digest: str) -> None:
        """Take the next row.

        Raises:
            RowsOutOfOrder: the row does not come after the last one.
        """
        place = (owner, source, key)
        if self._last is not None and place <= self._last:
            raise RowsOutOfOrder(f"row {place!r:.300} does not come after {self._last!r:.300}")
        self._last = place
        self.records += 1
        self._hasher.update(f"{escape(owner)}\t{escape(source)}\t{escape(key)}\t{digest}\n".encode())

    def digest(self) -> Digest:
        """Digest of the rows so far."""
        return digests.of_hash(self._hasher)


class RowSetDigest:
    """Content digest of a row set, taken line by line."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows = SnapshotDigest()

    @property
    def records(self) -> int:
        """Rows so far."""
        return self._rows.records

    def add(self, owner: str, source: str, key: str, line: bytes) -> None:
        """Take the next row; `line` is without its newline.

        Raises:
            RowsOutOfOrder: the row does not come after the last one.
        """
        self._rows.add(owner, source, key, digests.sha256(line))

    def digest(self) -> Digest:
        """Content digest of the rows so far."""
        return self._rows.digest()


def members_digest(members: Mapping[str, Digest]) -> Digest:
    """Content digest of an archive: over its members' names and the digests of their uncompressed bytes."""
    return _digest_of_pairs(members.items())


def rerun_hash(contents: Iterable[Content]) -> Digest:
    """Digest over path and content digest of every content: equal exactly where two runs gave the same content."""
    return _digest_of_pairs((content.path, content.content_digest) for content in contents)


def _digest_of_pairs(pairs: Iterable[tuple[str, Digest]]) -> Digest:
    return digests.of_lines(f"{escape(name)}\t{digest}\n".encode() for name, digest in sorted(pairs))
