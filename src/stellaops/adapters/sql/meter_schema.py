"""The table of what has been counted since the store was made."""

from __future__ import annotations

from sqlalchemy import Column, Float, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import TEXT

meter = Table(
    "meter",
    SERVICE,
    Column("name", TEXT, nullable=False),
    # A JSON object with its names sorted.
    Column("labels", TEXT, nullable=False),
    Column("value", Float, nullable=False),
    PrimaryKeyConstraint("name", "labels"),
)
"""Histograms have a row for each bucket (label `le`), one for their sum and one for their count."""
