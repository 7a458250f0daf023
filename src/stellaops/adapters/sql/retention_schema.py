"""How far back the evidence reaches, what is being removed from it, and what retention leaves alone."""

from __future__ import annotations

from sqlalchemy import Column, PrimaryKeyConstraint, SmallInteger, Table

from stellaops.adapters.sql.schema import EVIDENCE
from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

evidence_floor = Table(
    "evidence_floor",
    EVIDENCE,
    # One row, with the id 1, once something may have been removed.
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    # The oldest sequence whose state is whole. Only what ended there or before may be removed.
    Column("floor", BIG, nullable=False),
    Column("raised_at", BIG, nullable=False),
)

evidence_mark = Table(
    "evidence_mark",
    EVIDENCE,
    # The sequence that was the newest at an instant.
    Column("seq", BIG, primary_key=True, autoincrement=False),
    Column("at", BIG, nullable=False),
)

evidence_removal = Table(
    "evidence_removal",
    EVIDENCE,
    # A revision that is gone, whose document and derived rows have yet to go.
    Column("revision", BIG, primary_key=True, autoincrement=False),
)

run_pin = Table(
    "run_pin",
    SERVICE,
    Column("tenant", TEXT, nullable=False),
    Column("run_id", TEXT, nullable=False),
    # `pin` or `hold`.
    Column("kind", TEXT, nullable=False),
    Column("reason", TEXT, nullable=False),
    Column("set_by", TEXT, nullable=False),
    Column("set_at", BIG, nullable=False),
    PrimaryKeyConstraint("tenant", "run_id", "kind"),
)
