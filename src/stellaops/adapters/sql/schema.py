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
    SmallInteger,
    Table,
    Text,
)

from stellaops.advisories import index
from stellaops.bundles.trivy import projection as trivy

OPEN = 1 << 62
"""`seq_to` of a revision that is current."""

EVIDENCE = MetaData()

_BIG = BigInteger().with_variant(Integer(), "sqlite")


head = Table(
    "head",
    EVIDENCE,
    Column("id", SmallInteger, primary_key=True),
    Column("seq", _BIG, nullable=False),
)

source = Table(
    "source",
    EVIDENCE,
    Column("name", Text, primary_key=True),
    Column("feed", Text, nullable=False),
    Column("database", Text, nullable=False),
    Column("licence", Text, nullable=False),
    Column("checked_at", _BIG),
    Column("complete", Boolean, nullable=False),
    Column("vanished", _BIG, nullable=False),
)

container = Table(
    "container",
    EVIDENCE,
    Column("id", _BIG, primary_key=True),
    Column("source", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size", _BIG, nullable=False),
    Column("fetched_at", _BIG, nullable=False),
)

raw_block = Table(
    "raw_block",
    EVIDENCE,
    Column("id", _BIG, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

document = Table(
    "document",
    EVIDENCE,
    Column("id", _BIG, primary_key=True),
    Column("verbatim", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("raw_block", _BIG),
    Column("raw_start", _BIG),
    Column("raw_length", _BIG, nullable=False),
    # What the file says around the record; null where nothing.
    Column("context", Text),
)

_REVISION_COLUMNS = (
    ("digest", Text, False),
    ("raw_digest", Text, False),
    ("stated_at", _BIG, True),
    ("withdrawn", Boolean, False),
    ("severity", SmallInteger, False),
    ("tlp", Text, False),
    ("fetched_at", _BIG, False),
    ("container", _BIG, False),
    ("path", Text, False),
    ("file_offset", _BIG, False),
)

revision = Table(
    "revision",
    EVIDENCE,
    Column("id", _BIG, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("key", Text, nullable=False),
    *(Column(name, kind, nullable=nullable) for name, kind, nullable in _REVISION_COLUMNS),
    Column("seq_from", _BIG, nullable=False),
    Column("seq_to", _BIG, nullable=False),
)
# The order in which exports read; it also finds the current revision of a key.
Index("revision_by_key", revision.c.owner, revision.c.source, revision.c.key, revision.c.seq_to, unique=True)

tombstone = Table(
    "tombstone",
    EVIDENCE,
    Column("seq", _BIG, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("noted_at", _BIG, nullable=False),
)

job = Table(
    "job",
    EVIDENCE,
    Column("id", _BIG, primary_key=True),
    Column("source", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("position", _BIG, nullable=False),
    Column("first_document", _BIG, nullable=False),
    Column("started_at", _BIG, nullable=False),
    Column("fetched", _BIG, nullable=False),
    Column("ignored", _BIG, nullable=False),
    Column("added", _BIG, nullable=False),
    Column("changed", _BIG, nullable=False),
    Column("withdrawn", _BIG, nullable=False),
    Column("vanished", _BIG, nullable=False),
    Column("quarantined", _BIG, nullable=False),
    Column("applied_key", Text),
    Column("resumed", Boolean, nullable=False),
    # Another attempt at the quarantine: it says nothing about the upstream.
    Column("retry", Boolean, nullable=False),
)

staged = Table(
    "staged",
    EVIDENCE,
    Column("job", _BIG, nullable=False),
    Column("owner", Text, nullable=False),
    Column("key", Text, nullable=False),
    # Null where the content is what the store has already.
    Column("document", _BIG),
    *(Column(name, kind, nullable=nullable) for name, kind, nullable in _REVISION_COLUMNS),
    PrimaryKeyConstraint("job", "owner", "key"),
    sqlite_with_rowid=False,
)

quarantine = Table(
    "quarantine",
    EVIDENCE,
    Column("id", _BIG, primary_key=True),
    Column("source", Text, nullable=False),
    Column("job", _BIG, nullable=False),
    Column("container", _BIG, nullable=False),
    Column("path", Text, nullable=False),
    Column("file_offset", _BIG, nullable=False),
    Column("raw_digest", Text, nullable=False),
    Column("size", _BIG, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    # The key that the record seems to have, so that pruning keeps what arrives broken; empty where none is told.
    Column("key_hint", Text, nullable=False),
    # What the file says around the record; null for a whole file.
    Column("context", Text),
    Column("seen_at", _BIG, nullable=False),
    Column("resolved_by", _BIG),
)
Index("quarantine_by_path", quarantine.c.source, quarantine.c.path, quarantine.c.file_offset)

projection = Table(
    "projection",
    EVIDENCE,
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    # A rebuild has come this far, and goes this far; equal when every revision has its rows.
    Column("rebuilt_to", _BIG, nullable=False),
    Column("rebuild_until", _BIG, nullable=False),
    PrimaryKeyConstraint("name", "version"),
)

# A projection's tables carry its version, so that a rebuild is written beside what is in use.
PROJECTIONS = MetaData()

index_row = Table(
    f"index_row_v{index.VERSION}",
    PROJECTIONS,
    Column("revision", _BIG, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

trivy_advisory = Table(
    f"trivy_advisory_v{trivy.VERSION}",
    PROJECTIONS,
    Column("bucket", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("vulnerability", Text, nullable=False),
    Column("revision", _BIG, nullable=False),
    # Of several statements about one package and vulnerability, only those of the greatest strength count.
    Column("strength", SmallInteger, nullable=False),
    Column("value", LargeBinary, nullable=False),
    PrimaryKeyConstraint("bucket", "package", "vulnerability", "revision"),
    sqlite_with_rowid=False,
)

trivy_detail = Table(
    f"trivy_detail_v{trivy.VERSION}",
    PROJECTIONS,
    Column("revision", _BIG, nullable=False),
    # Which of the document's parts.
    Column("part", Integer, nullable=False),
    Column("value", LargeBinary, nullable=False),
    PrimaryKeyConstraint("revision", "part"),
    sqlite_with_rowid=False,
)

trivy_vulnerability = Table(
    f"trivy_vulnerability_v{trivy.VERSION}",
    PROJECTIONS,
    Column("vulnerability", Text, nullable=False),
    Column("revision", _BIG, nullable=False),
    Column("part", Integer, nullable=False),
    PrimaryKeyConstraint("vulnerability", "revision", "part"),
    sqlite_with_rowid=False,
)

trivy_problem = Table(
    f"trivy_problem_v{trivy.VERSION}",
    PROJECTIONS,
    Column("revision", _BIG, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("constraint_text", Text, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("revision", "number"),
    sqlite_with_rowid=False,
)

VERSIONS = {"index": index.VERSION, "trivy": trivy.VERSION}
"""The projections that this release writes and reads."""
