"""Tables of what is done by itself: chores, what came of fetching bundles back, and the room of machines."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, LargeBinary, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

chore_t = Table(
    "chore",
    SERVICE,
    Column("name", TEXT, primary_key=True),
    Column("begun_at", BIG, nullable=False),
    # Until then it is in somebody's hands; 0 where it is in nobody's.
    Column("leased_until", BIG, nullable=False),
    Column("finished_at", BIG),
    Column("succeeded_at", BIG),
    # Whether the last one that ended did so as it should; null where none has.
    Column("ok", Boolean),
    Column("report", LargeBinary, nullable=False),
)

target_check_t = Table(
    "target_check",
    SERVICE,
    Column("tenant", TEXT, nullable=False),
    Column("profile", TEXT, nullable=False),
    Column("target", TEXT, nullable=False),
    Column("at", BIG, nullable=False),
    # When a fetched bundle was last sound; null where none was yet.
    Column("sound_at", BIG),
    Column("record", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "profile", "target"),
)

staging_room_t = Table(
    "staging_room",
    SERVICE,
    # A machine and a place on it, as its workers last said.
    Column("host", TEXT, nullable=False),
    Column("place", TEXT, nullable=False),
    Column("at", BIG, nullable=False),
    Column("size", BIG, nullable=False),
    Column("free", BIG, nullable=False),
    Column("staged", BIG, nullable=False),
    PrimaryKeyConstraint("host", "place"),
)
