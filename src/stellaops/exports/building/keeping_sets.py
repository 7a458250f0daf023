"""Row sets whose digest lists are kept for the deltas that will build on them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stellaops.bundles import layout
from stellaops.bundles.content import Content, RowSetDigest
from stellaops.bundles.digest_list import DigestListWriter
from stellaops.bundles.jsonl import shards
from stellaops.bundles.jsonl.shards import Line
from stellaops.exports.building.delta_ports import KeptLists
from stellaops.exports.building.kept_lists import NOTHING
from stellaops.exports.building.material import Material
from stellaops.exports.building.mirror import RowSets
from stellaops.exports.ports import Staging


class KeepingSets(RowSets):
    """Writes row sets, and keeps their lists."""

    def __init__(self, material: Material, staging: Staging, lists: KeptLists) -> None:
        super().__init__(material, staging)
        self._lists = lists

    def write(self, name: str, lines: Iterable[Line]) -> Content:
        """A row set; its lines in ascending order."""
        with self._lists.growing() as growing:
            list_ = DigestListWriter(growing.out)
            content = shards.write_row_set(
                name, lines, self._staging.create, keep=list_.add, level=self._level, endings=self._endings
            )
            list_.close()
            growing.keep(content.content_digest)
        return content


class Listing(RowSets):
    """Takes the row sets of a full bundle, and keeps the list of one of them."""

    def __init__(self, material: Material, staging: Staging, lists: KeptLists, name: str) -> None:
        super().__init__(material, staging)
        self._lists = lists
        self._name = name

    def write(self, name: str, lines: Iterable[Line]) -> Content:
        """Read the lines of the one set; those of the others are not asked for."""
        if name != self._name:
            return Content(name, NOTHING, 0, layout.ROW_SET_TYPE)
        with self._lists.growing() as growing:
            list_ = DigestListWriter(growing.out)
            digest = RowSetDigest(list_.add)
            for line in lines:
                digest.add(line.owner, line.source, line.key, line.text)
            list_.close()
            growing.keep(digest.digest())
        return Content(name, digest.digest(), digest.records, layout.ROW_SET_TYPE)


@dataclass(frozen=True, slots=True)
class Nowhere:
    """A staging place whose files go nowhere."""

    root: Path
    scratch: Path

    def create(self, path: str) -> BinaryIO:
        """See the port."""
        del path
        return io.BytesIO()

    def reserve(self, size: int) -> None:
        """See the port: nothing takes room here."""
