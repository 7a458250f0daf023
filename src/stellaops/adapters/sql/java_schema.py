"""The rows of Java databases: which file is of which Maven artefact, by revision.

The primary key is the order of the database; it ends in the revision, so that several sources may list one file.
"""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.schema import PROJECTIONS
from stellaops.adapters.sql.types import BIG, TEXT
from stellaops.bundles.trivy import java_db

java_artefact = Table(
    f"java_artefact_v{java_db.VERSION}",
    PROJECTIONS,
    Column("group_id", TEXT, nullable=False),
    Column("artifact_id", TEXT, nullable=False),
    Column("version", TEXT, nullable=False),
    Column("archive_type", TEXT, nullable=False),
    Column("sha1", LargeBinary, nullable=False),
    Column("revision", BIG, nullable=False),
    PrimaryKeyConstraint("group_id", "artifact_id", "version", "archive_type", "sha1", "revision"),
    sqlite_with_rowid=False,
)
