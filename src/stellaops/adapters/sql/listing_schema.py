"""The newest complete listing that each source has taken in, by the date that the listing states."""

from __future__ import annotations

from sqlalchemy import Column, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.schema import EVIDENCE
from stellaops.adapters.sql.types import TEXT

source_listing = Table(
    "source_listing",
    EVIDENCE,
    Column("source", TEXT, nullable=False),
    # How the keys begin that it lists completely; empty for all keys of the source.
    Column("scope", TEXT, nullable=False),
    Column("date", TEXT, nullable=False),
    PrimaryKeyConstraint("source", "scope"),
)
