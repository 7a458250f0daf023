"""What a delta carries of a row set: the lines that are new or other, and the keys that are no longer there.

`delta/<set>/upserts.jsonl.zst` has lines of the set as they stand in the target state, `delta/<set>/removed.jsonl.zst`
a line of canonical JSON for each key that the base has and the target has not. Both are in the order of the set; a
file without lines is left out. Contents that are no row sets travel as whole files at their own paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO, Literal

import msgspec

from stellaops.bundles import layout
from stellaops.bundles.content import Content, RowSetDigest
from stellaops.bundles.digest_list import Place
from stellaops.bundles.jsonl.shards import Line, LineFile
from stellaops.bundles.rows import BadRow
from stellaops.core import canonical_json, digests
from stellaops.core.digests import Digest

FOLDER = "delta/"
_UPSERTS, _REMOVED = "/upserts.jsonl.zst", "/removed.jsonl.zst"

Reason = Literal["vanished", "deselected"]
"""`vanished`: upstream no longer has it. `deselected`: it is there, but the selection no longer has it, or a row is no
longer derived from what is there."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A row that the base has and the target has not.

    Attributes:
        tombstone: of one that vanished: the digest of the document that the base has; else None.
    """

    owner: str
    source: str
    key: str
    reason: Reason
    tombstone: Digest | None = None

    @property
    def place(self) -> Place:
        """Where the row stood."""
        return self.owner, self.source, self.key


class _Tombstone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: str


class _Removal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    owner: str
    reason: Reason
    source: str
    tombstone: _Tombstone | None


def upserts_file(content: str) -> str:
    """File of a row set's new and changed lines."""
    return f"{FOLDER}{content}{_UPSERTS}"


def removed_file(content: str) -> str:
    """File of the keys that a row set no longer has."""
    return f"{FOLDER}{content}{_REMOVED}"


def content_of(path: str) -> str | None:
    """The row set that a file of a delta belongs to; None for a file that belongs to none."""
    for suffix in (_UPSERTS, _REMOVED):
        if path.startswith(FOLDER) and path.endswith(suffix):
            content = path[len(FOLDER) : -len(suffix)]
            return content if layout.is_row_set(content) else None
    return None


def removal_line(removal: Removal) -> bytes:
    """The line of a removal, without a newline."""
    tombstone = None if removal.tombstone is None else {"digest": removal.tombstone}
    return canonical_json.encode(
        {
            "key": removal.key,
            "owner": removal.owner,
            "reason": removal.reason,
            "source": removal.source,
            "tombstone": tombstone,
        }
    )


def parse_removal(line: bytes) -> Removal:
    """Read a line of `removed.jsonl.zst` (without its newline).

    Raises:
        BadRow: another form; a vanished row without its tombstone, or another row with one.
    """
    try:
        row = msgspec.convert(canonical_json.decode(line), _Removal, strict=True)
        tombstone = None if row.tombstone is None else digests.parse(row.tombstone.digest)
    except (canonical_json.NotCanonical, msgspec.ValidationError, ValueError, RecursionError) as error:
        raise BadRow(f"a removal is not of its form: {error}") from error
    if (row.reason == "vanished") is (tombstone is None):
        raise BadRow(f"the removal of {row.key[:200]!r} is {row.reason}, which does not fit its tombstone")
    return Removal(row.owner, row.source, row.key, row.reason, tombstone)


class SetWriter:
    """Writes what a delta carries of one row set; files come into being with their first line."""

    def __init__(self, content: str, open_file: Callable[[str], BinaryIO]) -> None:
        self._content = content
        self._open = open_file
        self._upserts: LineFile | None = None
        self._removed: LineFile | None = None
        self.upserts = self.removals = 0

    def upsert(self, line: bytes) -> None:
        """Add a line of the target."""
        if self._upserts is None:
            self._upserts = LineFile(self._open(upserts_file(self._content)))
        self._upserts.write(line)
        self.upserts += 1

    def remove(self, removal: Removal) -> None:
        """Add a row that is gone."""
        if self._removed is None:
            self._removed = LineFile(self._open(removed_file(self._content)))
        self._removed.write(removal_line(removal))
        self.removals += 1

    def close(self) -> None:
        """End both files; doing so again does nothing."""
        for file in (self._upserts, self._removed):
            if file is not None:
                file.close()
        self._upserts = self._removed = None


def write_listing(
    name: str,
    lines: Iterable[Line],
    base: Iterable[tuple[Place, str]],
    writer: SetWriter,
    keep: Callable[[bytes], None],
) -> Content:
    """Write the delta of a row set that is listed as a whole, and say what the whole is.

    Args:
        lines: the target's rows in ascending order.
        base: place and line digest of the base's rows in ascending order.
        keep: is given what the content digest is taken over.

    Raises:
        RowsOutOfOrder: the lines are not in order.
    """
    digest = RowSetDigest(keep)
    known = iter(base)
    old = next(known, None)
    for line in lines:
        digest.add(line.owner, line.source, line.key, line.text)
        place = (line.owner, line.source, line.key)
        while old is not None and old[0] < place:
            writer.remove(Removal(*old[0], "deselected"))
            old = next(known, None)
        if old is not None and old[0] == place:
            if old[1] != digests.sha256(line.text):
                writer.upsert(line.text)
            old = next(known, None)
        else:
            writer.upsert(line.text)
    while old is not None:
        writer.remove(Removal(*old[0], "deselected"))
        old = next(known, None)
    writer.close()
    return Content(name, digest.digest(), digest.records, layout.ROW_SET_TYPE)
