"""Domains of mirrors, and what was published where."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

mirror_domain = Table(
    "mirror_domain",
    SERVICE,
    # Ids stand in host names and URLs, so that they are unique over all tenants.
    Column("id", TEXT, primary_key=True),
    Column("tenant", TEXT, nullable=False),
    # The document in canonical JSON.
    Column("document", LargeBinary, nullable=False),
    Column("changed_at", BIG, nullable=False),
)

mirror_publication = Table(
    "mirror_publication",
    SERVICE,
    # A directory or a bucket.
    Column("place", TEXT, nullable=False),
    Column("side", TEXT, nullable=False),
    # The greatest is in force.
    Column("number", BIG, nullable=False),
    Column("export_id", TEXT, nullable=False),
    Column("sequence", BIG, nullable=False),
    # Digest of all that decided the tree.
    Column("states", TEXT, nullable=False),
    Column("published_at", BIG, nullable=False),
    PrimaryKeyConstraint("place", "side", "number"),
)

mirror_offered = Table(
    "mirror_offered",
    SERVICE,
    # What was published once is named for ever: hosts that were away for long are told too that it was given up.
    Column("side", TEXT, nullable=False),
    Column("domain", TEXT, nullable=False),
    PrimaryKeyConstraint("side", "domain"),
)
