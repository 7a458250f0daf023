"""What marks a store that is still being copied into, and remembers how far that is."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, LargeBinary, MetaData, Table

from stellaops.adapters.sql.types import BIG, TEXT

ORIGIN = ""
"""The entry whose `last` names the store that is copied."""

unfinished_copy = Table(
    "unfinished_copy",
    MetaData(),
    Column("name", TEXT, primary_key=True),
    Column("rows", BIG, nullable=False),
    # The primary key of the last row that was copied, as MessagePack.
    Column("last", LargeBinary),
    Column("done", Boolean, nullable=False),
)
