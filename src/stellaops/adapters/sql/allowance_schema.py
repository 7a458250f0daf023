"""What callers have left of their allowances, in the service store: only of those that are not whole."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

allowance_t = Table(
    "allowance",
    SERVICE,
    # What is allowed, and to whom.
    Column("name", TEXT, primary_key=True),
    # Microseconds since 1970: when it is whole again. The row is of no use afterwards.
    Column("whole_at", BIG, nullable=False),
    Index("allowance_by_end", "whole_at"),
)
