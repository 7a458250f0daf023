"""Turns at targets of distribution, in the service store."""

from __future__ import annotations

from sqlalchemy import Column, Float, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import TEXT

target_turn = Table(
    "target_turn",
    SERVICE,
    Column("target", TEXT, nullable=False),
    Column("tenant", TEXT, nullable=False),
    # Who has the turn: no two are ever the same.
    Column("holder", TEXT, nullable=False),
    # The last sign of life, in seconds of the database's own clock.
    Column("beat", Float, nullable=False),
    PrimaryKeyConstraint("target", "tenant"),
)

TABLES = (target_turn,)
