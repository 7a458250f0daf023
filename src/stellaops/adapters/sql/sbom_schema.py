"""The rows of bills of materials: what each is about, and its components."""

from __future__ import annotations

from sqlalchemy import Column, Integer, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.schema import PROJECTIONS
from stellaops.adapters.sql.types import BIG, TEXT
from stellaops.sboms import projection

sbom_document = Table(
    f"sbom_document_v{projection.VERSION}",
    PROJECTIONS,
    Column("revision", BIG, primary_key=True, autoincrement=False),
    Column("subject", TEXT, nullable=False),
    Column("form", TEXT, nullable=False),
    # The distribution and its release as the document states them; empty where it states none.
    Column("family", TEXT, nullable=False),
    Column("release", TEXT, nullable=False),
    Column("components", Integer, nullable=False),
)

sbom_component = Table(
    f"sbom_component_v{projection.VERSION}",
    PROJECTIONS,
    Column("revision", BIG, nullable=False),
    Column("number", Integer, nullable=False),
    Column("purl", TEXT, nullable=False),
    Column("name", TEXT, nullable=False),
    Column("version", TEXT, nullable=False),
    Column("source_name", TEXT, nullable=False),
    Column("source_version", TEXT, nullable=False),
    # Numbers of the components that contain it or depend on it, with commas.
    Column("parents", TEXT, nullable=False),
    PrimaryKeyConstraint("revision", "number"),
    sqlite_with_rowid=False,
)
