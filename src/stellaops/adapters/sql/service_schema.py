"""The service schema: profiles and records of runs. Separate from the evidence; no transaction spans both."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, Table

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
    # Null where a release with an older schema wrote the row: version, attempt and events 0.
    Column("version", BIG),
    Column("attempt", Integer),
    Column("events", Integer),
    Column("plan_digest", TEXT),
    # Whether a bundle of the run lies anywhere; null where its record has to be looked at.
    Column("keeps", Boolean),
)

run_indexes = (
    Index("run_by_time", run_t.c.tenant, run_t.c.submitted_at, run_t.c.id),
    Index("run_by_status", run_t.c.status, run_t.c.tenant),
    Index("run_by_plan", run_t.c.tenant, run_t.c.plan_digest),
)

run_by_keeps = Index("run_by_keeps", run_t.c.keeps, run_t.c.tenant)
run_by_profile = Index(
    "run_by_profile", run_t.c.tenant, run_t.c.profile, run_t.c.status, run_t.c.submitted_at, run_t.c.id
)

run_event = Table(
    "run_event",
    SERVICE,
    Column("run_id", TEXT, nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", BIG, nullable=False),
    Column("type", TEXT, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("run_id", "number"),
)

run_submission = Table(
    "run_submission",
    SERVICE,
    Column("tenant", TEXT, primary_key=True),
    # Submissions so far. Its row is what two submissions of a tenant wait for, so that bounds hold exactly.
    Column("number", BIG, nullable=False),
)
