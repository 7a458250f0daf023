"""Turns at targets of distribution, and what their moving names stand for, in the service store."""

from __future__ import annotations

from sqlalchemy import Column, Float, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

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

target_latest = Table(
    "target_latest",
    SERVICE,
    Column("target", TEXT, nullable=False),
    Column("tenant", TEXT, nullable=False),
    Column("profile", TEXT, nullable=False),
    Column("run_id", TEXT, nullable=False),
    Column("sequence", BIG, nullable=False),
    Column("submitted_at", BIG, nullable=False),
    Column("reference", TEXT, nullable=False),
    Column("at", BIG, nullable=False),
    PrimaryKeyConstraint("target", "tenant", "profile"),
)

TABLES = (target_turn, target_latest)
