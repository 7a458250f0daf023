"""The bytes of records as they were fetched, out of the blocks that many of them share."""

from __future__ import annotations

from collections import OrderedDict

from backports import zstd
from sqlalchemy import Engine, select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import reading

_MOST_BLOCKS = 64
"""Unpacked blocks at hand; each has some 256 KiB, or is a single larger record."""


class RawBlocks:
    """Slices of blocks; records that are near in key order were often fetched together."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def slice(self, block: int, start: int, length: int) -> bytes:
        """A record's bytes."""
        if block in self._blocks:
            self._blocks.move_to_end(block)
        else:
            self._blocks[block] = self._unpacked(block)
            if len(self._blocks) > _MOST_BLOCKS:
                self._blocks.popitem(last=False)
        return self._blocks[block][start : start + length]

    def _unpacked(self, block: int) -> bytes:
        table = schema.raw_block
        with reading(self._engine) as connection:
            data = connection.execute(select(table.c.data).where(table.c.id == block)).scalar_one()
        return zstd.decompress(data)
