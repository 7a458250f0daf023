"""The service schema: profiles and records of runs. Separate from the evidence; no transaction spans both."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.types import BIG, TEXT

SERVICE = MetaData()

schema_step = Table(
    "schema_step",
    SERVICE,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", TEXT, nullable=False),
    # The oldest schema whose releases still read and write the store after this step.
    Column("oldest", Integer, nullable=False),
)

profile_t = Table(
    "profile",
    SERVICE,
    Column("tenant", TEXT, nullable=False),
    Column("name", TEXT, nullable=False),
    Column("number", Integer, nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("labels", LargeBinary, nullable=False),
    Column("created_at", BIG, nullable=False),
    Column("created_by", TEXT, nullable=False),
    Column("reason", TEXT, nullable=False),
    # Deleted revisions stay, so that a number never names two recipes.
    Column("deleted", Boolean, nullable=False),
    PrimaryKeyConstraint("tenant", "name", "number"),
)

run_t = Table(
    "run",
    SERVICE,
    Column("id", TEXT, primary_key=True),
    Column("tenant", TEXT, nullable=False),
    Column("profile", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("submitted_at", BIG, nullable=False),
    Column("record", LargeBinary, nullable=False),
)
