"""The evidence schema.

A revision is valid for `seq_from <= s < seq_to`; `OPEN` stands for "still". Documents are content, written once under
the id of their revision. Projections belong to a revision and share its interval by joining it, so that closing a
revision touches one row. Texts compare by bytes.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
)

from stellaops.adapters.sql.types import BIG, TEXT
from stellaops.advisories import aliases, index
from stellaops.bundles.trivy import java_db
from stellaops.bundles.trivy import projection as trivy
from stellaops.sboms import projection as sboms
from stellaops.vex import projection as vex

OPEN = 1 << 62
"""`seq_to` of a revision that is current."""

EVIDENCE = MetaData()


def _numbered(table: str) -> Column[int]:
    """The id of a row; on PostgreSQL out of a sequence, so that writers side by side never choose the same.

    Connections keep no stock of numbers: an id that is taken later must be greater, whoever takes it.
    """
    return Column("id", BIG, Sequence(f"{table}_id", cache=1, data_type=BigInteger), primary_key=True)


schema_step = Table(
    "schema_step",
    EVIDENCE,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", TEXT, nullable=False),
    # The oldest schema whose releases still read and write the store after this step.
    Column("oldest", Integer, nullable=False),
)

head = Table(
    "head",
    EVIDENCE,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("seq", BIG, nullable=False),
)

source = Table(
    "source",
    EVIDENCE,
    Column("name", TEXT, primary_key=True),
    Column("feed", TEXT, nullable=False),
    Column("database", TEXT, nullable=False),
    Column("licence", TEXT, nullable=False),
    Column("checked_at", BIG),
    Column("complete", Boolean, nullable=False),
    Column("vanished", BIG, nullable=False),
)

container = Table(
    "container",
    EVIDENCE,
    _numbered("container"),
    Column("source", TEXT, nullable=False),
    Column("url", TEXT, nullable=False),
    Column("digest", TEXT, nullable=False),
    Column("size", BIG, nullable=False),
    Column("fetched_at", BIG, nullable=False),
)

raw_block = Table(
    "raw_block",
    EVIDENCE,
    _numbered("raw_block"),
    Column("data", LargeBinary, nullable=False),
)

document = Table(
    "document",
    EVIDENCE,
    _numbered("document"),
    Column("verbatim", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("raw_block", BIG),
    Column("raw_start", BIG),
    Column("raw_length", BIG, nullable=False),
    # What the file says around the record; null where nothing.
    Column("context", TEXT),
    # What was checked of the bytes when they came (JSON); null where nothing lay beside them.
    Column("checked", TEXT),
)
# Whether a block is still needed.
Index("document_by_block", document.c.raw_block)

_REVISION_COLUMNS = (
    ("digest", TEXT, False),
    ("raw_digest", TEXT, False),
    ("stated_at", BIG, True),
    ("withdrawn", Boolean, False),
    ("severity", SmallInteger, False),
    ("tlp", TEXT, False),
    ("fetched_at", BIG, False),
    ("container", BIG, False),
    ("path", TEXT, False),
    ("file_offset", BIG, False),
)

revision = Table(
    "revision",
    EVIDENCE,
    Column("id", BIG, primary_key=True, autoincrement=False),
    Column("owner", TEXT, nullable=False),
    Column("source", TEXT, nullable=False),
    Column("key", TEXT, nullable=False),
    *(Column(name, kind, nullable=nullable) for name, kind, nullable in _REVISION_COLUMNS),
    Column("seq_from", BIG, nullable=False),
    Column("seq_to", BIG, nullable=False),
)
# The order in which exports read; it also finds the current revision of a key.
Index("revision_by_key", revision.c.owner, revision.c.source, revision.c.key, revision.c.seq_to, unique=True)
# What changed in a span of sequences; what vanished in it is found by its tombstones.
# One column alone: with owner and source in it, SQLite would take it for the reads in key order too.
Index("revision_by_start", revision.c.seq_from)

tombstone = Table(
    "tombstone",
    EVIDENCE,
    Column("seq", BIG, primary_key=True, autoincrement=False),
    Column("owner", TEXT, nullable=False),
    Column("source", TEXT, nullable=False),
    Column("key", TEXT, nullable=False),
    Column("digest", TEXT, nullable=False),
    Column("noted_at", BIG, nullable=False),
)

job = Table(
    "job",
    EVIDENCE,
    _numbered("job"),
    Column("source", TEXT, nullable=False),
    Column("fingerprint", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("position", BIG, nullable=False),
    Column("first_document", BIG, nullable=False),
    Column("started_at", BIG, nullable=False),
    Column("fetched", BIG, nullable=False),
    Column("ignored", BIG, nullable=False),
    Column("added", BIG, nullable=False),
    Column("changed", BIG, nullable=False),
    Column("withdrawn", BIG, nullable=False),
    Column("vanished", BIG, nullable=False),
    Column("quarantined", BIG, nullable=False),
    Column("applied_key", TEXT),
    Column("resumed", Boolean, nullable=False),
    # Another attempt at the quarantine: it says nothing about the upstream.
    Column("retry", Boolean, nullable=False),
    # Which projections it wrote, and up to which position: `imports.stamp`. What another release read in between has
    # moved the position alone, so that a rebuild knows where rows are missing. Empty for what was done before.
    Column("projections", TEXT),
)

staged = Table(
    "staged",
    EVIDENCE,
    Column("job", BIG, nullable=False),
    Column("owner", TEXT, nullable=False),
    Column("key", TEXT, nullable=False),
    # Null where the content is what the store has already.
    Column("document", BIG),
    *(Column(name, kind, nullable=nullable) for name, kind, nullable in _REVISION_COLUMNS),
    PrimaryKeyConstraint("job", "owner", "key"),
    sqlite_with_rowid=False,
)

quarantine = Table(
    "quarantine",
    EVIDENCE,
    _numbered("quarantine"),
    Column("source", TEXT, nullable=False),
    Column("job", BIG, nullable=False),
    Column("container", BIG, nullable=False),
    Column("path", TEXT, nullable=False),
    Column("file_offset", BIG, nullable=False),
    Column("raw_digest", TEXT, nullable=False),
    Column("size", BIG, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("reason", TEXT, nullable=False),
    Column("detail", TEXT, nullable=False),
    # The key that the record seems to have, so that pruning keeps what arrives broken; empty where none is told.
    Column("key_hint", TEXT, nullable=False),
    # What the file says around the record; null for a whole file.
    Column("context", TEXT),
    Column("seen_at", BIG, nullable=False),
    Column("resolved_by", BIG),
)
# Paths can be longer than what a tree of PostgreSQL holds.
Index("quarantine_by_path", quarantine.c.source, quarantine.c.path, quarantine.c.file_offset).ddl_if("sqlite")
Index("quarantine_by_path_hash", quarantine.c.path, postgresql_using="hash").ddl_if("postgresql")

projection = Table(
    "projection",
    EVIDENCE,
    Column("name", TEXT, nullable=False),
    Column("version", Integer, nullable=False),
    # A rebuild has come this far, and goes this far; equal when every revision has its rows.
    Column("rebuilt_to", BIG, nullable=False),
    Column("rebuild_until", BIG, nullable=False),
    PrimaryKeyConstraint("name", "version"),
)

# A projection's tables carry its version, so that a rebuild is written beside what is in use.
PROJECTIONS = MetaData()

index_row = Table(
    f"index_row_v{index.VERSION}",
    PROJECTIONS,
    Column("revision", BIG, primary_key=True, autoincrement=False),
    Column("value", LargeBinary, nullable=False),
)

trivy_advisory = Table(
    f"trivy_advisory_v{trivy.VERSION}",
    PROJECTIONS,
    Column("bucket", TEXT, nullable=False),
    Column("package", TEXT, nullable=False),
    Column("vulnerability", TEXT, nullable=False),
    Column("revision", BIG, nullable=False),
    # Of several statements about one package and vulnerability, only those of the greatest strength count.
    Column("strength", SmallInteger, nullable=False),
    Column("value", LargeBinary, nullable=False),
    PrimaryKeyConstraint("bucket", "package", "vulnerability", "revision"),
    sqlite_with_rowid=False,
)

trivy_detail = Table(
    f"trivy_detail_v{trivy.VERSION}",
    PROJECTIONS,
    Column("revision", BIG, nullable=False),
    # Which of the document's parts.
    Column("part", Integer, nullable=False),
    Column("value", LargeBinary, nullable=False),
    PrimaryKeyConstraint("revision", "part"),
    sqlite_with_rowid=False,
)

trivy_vulnerability = Table(
    f"trivy_vulnerability_v{trivy.VERSION}",
    PROJECTIONS,
    Column("vulnerability", TEXT, nullable=False),
    Column("revision", BIG, nullable=False),
    Column("part", Integer, nullable=False),
    PrimaryKeyConstraint("vulnerability", "revision", "part"),
    sqlite_with_rowid=False,
)

trivy_problem = Table(
    f"trivy_problem_v{trivy.VERSION}",
    PROJECTIONS,
    Column("revision", BIG, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("bucket", TEXT, nullable=False),
    Column("package", TEXT, nullable=False),
    Column("constraint_text", TEXT, nullable=False),
    Column("reason", TEXT, nullable=False),
    PrimaryKeyConstraint("revision", "number"),
    sqlite_with_rowid=False,
)

VERSIONS = {
    "alias": aliases.VERSION,
    "index": index.VERSION,
    "java": java_db.VERSION,
    "sbom": sboms.VERSION,
    "trivy": trivy.VERSION,
    "vex": vex.VERSION,
}
"""The projections that this release writes and reads."""
