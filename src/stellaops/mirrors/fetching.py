"""Bringing the files of a tree that a host lacks, each checked by its digest, whichever way it comes.

    1. What an interrupted sync brought already is hashed and kept.
    2. Files are fetched, several at once, but for single documents that an archive of the same tree holds too.
    3. These are unpacked from their archives. What one does not give as it was signed is fetched after all.

Hundreds of thousands of documents so cost one request for each ecosystem, whatever brings them.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from stellaops.mirrors.domain import Side
from stellaops.mirrors.errors import BadTree
from stellaops.mirrors.forms import Entry, TreeList
from stellaops.mirrors.osv_bucket import archive_of
from stellaops.mirrors.signed_files import measure
from stellaops.mirrors.sync_ports import Members, TreeSource

_PARTIAL = ".partial"

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def split(tree: TreeList, missing: Iterable[Entry]) -> tuple[list[Entry], dict[str, list[Entry]]]:
    """What is to be fetched, and what can be unpacked: by the archive that holds it."""
    listed = {entry.path for entry in tree.files}
    fetched: list[Entry] = []
    packed: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in missing:
        archive = archive_of(entry.path)
        if archive is None or archive not in listed:
            fetched.append(entry)
        else:
            packed[archive].append(entry)
    return fetched, packed


@dataclass(frozen=True, slots=True)
class Fetching:
    """Brings files of one tree into the place where it is gathered.

    Attributes:
        root: of the tree that grows; archives that the host held are linked there already.
        scratch: beside it, for what a source brings together.
        members: reads an archive.
        at_once: files that are fetched at a time.
    """

    source: TreeSource
    side: Side
    export_id: str
    root: Path
    scratch: Path
    members: Members
    at_once: int

    def bring(self, tree: TreeList, missing: Sequence[Entry]) -> None:
        """Have every missing file of a domain there.

        Raises:
            BadTree: what came is not what was signed.
            SourceUnreachable: see there.
        """
        seen = [entry for entry in missing if os.path.isfile(f"{self.root}/{entry.path}")]  # noqa: PTH113 - of very many
        there = set(self._at_once(self._kept, seen))
        fetched, packed = split(tree, [entry for entry in missing if entry.path not in there])
        self._fetch_all(fetched)
        left = self._at_once(lambda each: self._unpack(each, packed[each]), packed)
        self._fetch_all([entry for entries in left for entry in entries])

    def _at_once(self, do: Callable[[_Item], _Result], items: Collection[_Item]) -> list[_Result]:
        with ThreadPoolExecutor(self.at_once) as pool:
            waiting = [pool.submit(do, item) for item in items]
            try:
                return [each.result() for each in waiting]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _kept(self, entry: Entry) -> str | None:
        """The path of a file that an earlier attempt brought; None where it has to come once more."""
        target = self.root / entry.path
        measured = measure(target)
        if (measured.sha256, measured.bytes) == (entry.sha256, entry.bytes):
            return entry.path
        target.unlink()
        return None

    def _fetch_all(self, entries: Sequence[Entry]) -> None:
        if entries:
            paths = [f"{self.export_id}/{entry.path}" for entry in entries]
            self.source.ahead(self.side, paths, self.scratch)
            self._at_once(self._fetch, entries)

    def _fetch(self, entry: Entry) -> None:
        """Get a file.

        Raises:
            BadTree: what came is not what was signed.
        """
        target = self.root / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        growing = target.with_name(target.name + _PARTIAL)
        hasher, size = hashlib.sha256(), 0
        with growing.open("wb") as out:
            for piece in self.source.pieces(self.side, f"{self.export_id}/{entry.path}"):
                size += len(piece)
                if size > entry.bytes:
                    break
                hasher.update(piece)
                out.write(piece)
        if (hasher.hexdigest(), size) != (entry.sha256, entry.bytes):
            growing.unlink()
            place = self.source.place
            raise BadTree(f"{place}: {entry.path} of {self.export_id} is not what its publisher signed")
        growing.rename(target)

    def _unpack(self, archive: str, entries: Sequence[Entry]) -> list[Entry]:
        """Take documents out of an archive; those that it does not have as they were signed."""
        folder = archive.rpartition("/")[0]
        left = {entry.path.rpartition("/")[2]: entry for entry in entries}
        place = self.root / folder
        most = max(entry.bytes for entry in entries)
        for name, content in self.members(self.root / archive, frozenset(left), most):
            entry = left.get(name)
            if entry is not None and hashlib.sha256(content).hexdigest() == entry.sha256:
                # One that is cut off by a kill is found by its digest the next time.
                (place / name).write_bytes(content)
                del left[name]
        return list(left.values())
