"""The snapshots of policies. A row is written once: its name is the digest of what it holds."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.schema import EVIDENCE
from stellaops.adapters.sql.types import BIG, TEXT

policy_snapshot = Table(
    "policy_snapshot",
    EVIDENCE,
    Column("tenant", TEXT, nullable=False),
    Column("digest", TEXT, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # When it was first taken, in microseconds since 1970, and from the evidence of which sequence.
    Column("taken_at", BIG, nullable=False),
    Column("sequence", BIG, nullable=False),
    PrimaryKeyConstraint("tenant", "digest"),
)
