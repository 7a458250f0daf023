"""What identifies content: digests that depend on neither shards nor compressors.

A row set is a sequence of lines, each under an owner, a source and a key, in strictly ascending order of the three. Its
digest is over `owner⇥source⇥key⇥sha256(line)⏎`, so that two row sets with the same rows have the same digest
however they are cut and packed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
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
    """Digest over `owner⇥source⇥key⇥digest⏎` of rows in strictly ascending order of the first three.

    Args:
        keep: is given each of these lines, for a `digest_list`.
    """

    __slots__ = ("_hasher", "_keep", "_last", "_prefix", "records")

    def __init__(self, keep: Callable[[bytes], None] | None = None) -> None:
        self._keep = keep
        self._hasher = hashlib.sha256()
        self._last: tuple[str, str, str] | None = None
        self._prefix = ""
        self.records = 0

    def add(self, owner: str, source: str, key: str, digest: str) -> None:
        """Take the next row.

        Raises:
            RowsOutOfOrder: the row does not come after the last one.
        """
        place = (owner, source, key)
        last = self._last
        if last is not None and place <= last:
            raise RowsOutOfOrder(f"row {place!r:.300} does not come after {last!r:.300}")
        if last is None or source != last[1] or owner != last[0]:
            self._prefix = f"{escape(owner)}\t{escape(source)}\t"
        self._last = place
        self.records += 1
        line = f"{self._prefix}{escape(key)}\t{digest}\n".encode()
        self._hasher.update(line)
        if self._keep is not None:
            self._keep(line)

    def digest(self) -> Digest:
        """Digest of the rows so far."""
        return digests.of_hash(self._hasher)


class RowSetDigest:
    """Content digest of a row set, taken line by line.

    Args:
        keep: as of `SnapshotDigest`.
    """

    __slots__ = ("_rows",)

    def __init__(self, keep: Callable[[bytes], None] | None = None) -> None:
        self._rows = SnapshotDigest(keep)

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
