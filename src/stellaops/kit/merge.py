"""A row set of a base and what a delta carries of it, merged into the row set of the target.

Rows stay the bytes that they are. Files that come out as the base has them are linked, not written again: shards are
cut where their content says, so that a change makes one or two of them new.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from stellaops.bundles import layout, packed, rows
from stellaops.bundles.digest_list import Place
from stellaops.bundles.jsonl.shards import SHARD_BYTES, LineFile, cuts
from stellaops.bundles.mirror import delta
from stellaops.core.errors import InvalidInput
from stellaops.kit.delta import removals, upserts
from stellaops.kit.tree import Tree


class DoesNotFit(InvalidInput):
    """A delta that speaks of rows that its base does not have."""

    code = "ERR_MIRROR_DELTA_ROWS"
    hint = "Verify the tree that the delta is to be applied to; restore it from a full bundle where it is damaged."


class _Key(msgspec.Struct):
    key: str
    source: str


_KEY = msgspec.json.Decoder(_Key)
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True, slots=True)
class Sides:
    """Where the files lie: those of the base (None where there is none), of the delta, and of the target."""

    base: Tree | None
    delta: Tree
    target: Path


def merge(content: str, sides: Sides) -> None:
    """Write the files of a row set into the target.

    Raises:
        DoesNotFit: a removed row is not in the base, or is among the new ones too.
        BadPacking, BadRow, UntrustedFile: a file is not in its form.
        OSError: the target cannot be written.
    """
    base = _Base(content, sides)
    if not base.changes_anything():
        for path in base.files:
            base.link(path, path)
        if not base.files and not layout.is_sharded(content):
            _write_table(content, iter(()), sides.target)
    elif layout.is_sharded(content):
        _write_shards(content, base, sides.target)
    else:
        _write_table(content, base.merged(), sides.target)


def place_of(line: bytes) -> Place:
    """Where a line stands; all row sets name source and key alike.

    Raises:
        BadRow: it names neither.
    """
    try:
        found = _KEY.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise rows.BadRow(f"a line names no source and key: {error}") from error
    return rows.owner_of(found.source), found.source, found.key


class _Base:
    """The rows of the base with those of the delta among them."""

    def __init__(self, content: str, sides: Sides) -> None:
        self._content = content
        self._sides = sides
        listing = frozenset[str]() if sides.base is None else sides.base.listing().files
        self.files = layout.files_of(content, listing)
        self.shards: dict[bytes, str] = {}
        """Files of the base that were read to their end, by the SHA-256 of their lines."""

    def changes_anything(self) -> bool:
        """Whether the delta has files of this set."""
        names = (delta.upserts_file(self._content), delta.removed_file(self._content))
        return any((self._sides.delta.root / name).exists() for name in names)

    def link(self, path: str, name: str) -> None:
        """Have a file of the base in the target too."""
        assert self._sides.base is not None  # noqa: S101 - there is a file of it
        target = self._sides.target / name
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(self._sides.base.root / path, target)

    def merged(self) -> Iterator[tuple[Place, bytes]]:
        """Place and line of each row of the target, in order."""
        gone, fresh = self._removals(), self._upserts()
        removal, upsert = next(gone, None), next(fresh, None)
        for place, line in self._lines():
            while upsert is not None and upsert[0] < place:
                yield upsert
                upsert = next(fresh, None)
            if removal is not None and removal.place == place:
                removal = next(gone, None)
                self._demand_no_other(place, upsert)
            elif removal is not None and removal.place < place:
                break
            elif upsert is not None and upsert[0] == place:
                yield upsert
                upsert = next(fresh, None)
            else:
                yield place, line
        if removal is not None:
            raise DoesNotFit(f"{self._content}: {removal.place!r:.300} is removed, but is not there")
        while upsert is not None:
            yield upsert
            upsert = next(fresh, None)

    def _demand_no_other(self, place: Place, upsert: tuple[Place, bytes] | None) -> None:
        if upsert is not None and upsert[0] == place:
            raise DoesNotFit(f"{self._content}: {place!r:.300} is removed and new at once")

    def _lines(self) -> Iterator[tuple[Place, bytes]]:
        if self._sides.base is None:
            return
        for path in self.files:
            hasher = hashlib.sha256()
            limit = packed.expansion_limit(self._sides.base.size(path))
            for line in packed.lines(packed.unzstd(self._sides.base.chunks(path), limit)):
                hasher.update(line)
                hasher.update(b"\n")
                yield place_of(line), line
            self.shards[hasher.digest()] = path

    def _upserts(self) -> Iterator[tuple[Place, bytes]]:
        name, tree = delta.upserts_file(self._content), self._sides.delta
        if (tree.root / name).exists():
            yield from upserts(self._content, tree.chunks(name), tree.size(name))

    def _removals(self) -> Iterator[delta.Removal]:
        name, tree = delta.removed_file(self._content), self._sides.delta
        if (tree.root / name).exists():
            yield from removals(self._content, tree.chunks(name), tree.size(name))


def _write_table(content: str, lines: Iterator[tuple[Place, bytes]], target: Path) -> None:
    out = LineFile(_created(target / layout.index_file(content)))
    try:
        for _, line in lines:
            out.write(line)
    finally:
        out.close()


def _write_shards(content: str, base: _Base, target: Path) -> None:
    """Shards are held until they are whole, so that one which the base has too is linked: at most one of 64 MiB."""
    held: list[bytes] = []
    size = number = 0
    for place, line in base.merged():
        if held and (size + len(line) + 1 > SHARD_BYTES or cuts(place[2])):
            _put_shard(content, number, held, base, target)
            held, size, number = [], 0, number + 1
        held.append(line)
        size += len(line) + 1
    if held:
        _put_shard(content, number, held, base, target)


def _put_shard(content: str, number: int, held: list[bytes], base: _Base, target: Path) -> None:
    name = layout.shard(content, number)
    hasher = hashlib.sha256()
    for line in held:
        hasher.update(line)
        hasher.update(b"\n")
    same = base.shards.get(hasher.digest())
    if same is not None:
        base.link(same, name)
        return
    out = LineFile(_created(target / name))
    try:
        for line in held:
            out.write(line)
    finally:
        out.close()


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file that never changes; a copy where the file system has no links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with source.open("rb") as old, target.open("xb") as new:
            while piece := old.read(1 << 20):
                new.write(piece)


def _created(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")
