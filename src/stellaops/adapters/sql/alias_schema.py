"""What documents say about ids, to be asked from either side."""

from __future__ import annotations

from sqlalchemy import Column, Index, PrimaryKeyConstraint, SmallInteger, Table

from stellaops.adapters.sql.schema import PROJECTIONS
from stellaops.adapters.sql.types import BIG, TEXT
from stellaops.advisories import aliases

alias_link = Table(
    f"alias_link_v{aliases.VERSION}",
    PROJECTIONS,
    Column("subject", TEXT, nullable=False),
    Column("object", TEXT, nullable=False),
    Column("relation", TEXT, nullable=False),
    Column("rule", SmallInteger, nullable=False),
    Column("revision", BIG, nullable=False),
    PrimaryKeyConstraint("subject", "object", "relation", "rule", "revision"),
    sqlite_with_rowid=False,
)
Index(f"alias_link_v{aliases.VERSION}_by_object", alias_link.c.object, alias_link.c.revision)
