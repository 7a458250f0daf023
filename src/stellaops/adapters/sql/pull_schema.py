"""The tables of pulls: definitions of sources, the state of their pulls, and what is known of their files."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.schema import EVIDENCE
from stellaops.adapters.sql.types import BIG, TEXT

source_definition = Table(
    "source_definition",
    EVIDENCE,
    Column("name", TEXT, primary_key=True),
    Column("enabled", Boolean, nullable=False),
    # The whole definition as JSON, with names of files that hold credentials and never a credential.
    Column("definition", TEXT, nullable=False),
)

source_pull = Table(
    "source_pull",
    EVIDENCE,
    Column("source", TEXT, primary_key=True),
    Column("cursor", TEXT, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("listed", BIG, nullable=False),
    Column("started_at", BIG),
    Column("succeeded_at", BIG),
    Column("full_at", BIG),
    Column("next_attempt_at", BIG),
    Column("error_code", TEXT, nullable=False),
    Column("error", TEXT, nullable=False),
)

source_file = Table(
    "source_file",
    EVIDENCE,
    Column("source", TEXT, nullable=False),
    Column("path", TEXT, nullable=False),
    Column("mark", TEXT, nullable=False),
    Column("etag", TEXT, nullable=False),
    Column("last_modified", TEXT, nullable=False),
    Column("digest", TEXT, nullable=False),
    PrimaryKeyConstraint("source", "path"),
)

source_database = Table(
    "source_database",
    EVIDENCE,
    # What the place of a source offers, whichever database the source is of.
    Column("source", TEXT, nullable=False),
    Column("database", TEXT, nullable=False),
    PrimaryKeyConstraint("source", "database"),
)

TABLES = (source_definition, source_pull, source_file, source_database)
