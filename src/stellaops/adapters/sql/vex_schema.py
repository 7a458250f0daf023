"""The statements of VEX documents, and the consensus that is kept of them.

Rows of statements belong to a revision and share its interval, like all projections. A state of the consensus has an
interval of its own, since it comes of many revisions (docs/decisions/0020-consensus-as-a-maintained-view.md).
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table

from stellaops.adapters.sql.schema import EVIDENCE, PROJECTIONS
from stellaops.adapters.sql.types import BIG, TEXT
from stellaops.vex import projection

vex_document = Table(
    f"vex_document_v{projection.VERSION}",
    PROJECTIONS,
    Column("revision", BIG, primary_key=True, autoincrement=False),
    # The document's own name, which need not be unique.
    Column("name", TEXT, nullable=False),
    Column("issuer", TEXT, nullable=False),
    Column("role", TEXT, nullable=False),
    Column("statements", Integer, nullable=False),
)

vex_statement = Table(
    f"vex_statement_v{projection.VERSION}",
    PROJECTIONS,
    Column("revision", BIG, nullable=False),
    # Which of the document's statements, and which of its products: `vex.projection.Row`.
    Column("position", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("vulnerability", TEXT, nullable=False),
    Column("package", TEXT, nullable=False),
    Column("product", TEXT, nullable=False),
    Column("platform", TEXT, nullable=False),
    Column("subcomponents", TEXT, nullable=False),
    Column("others", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("justification", TEXT, nullable=False),
    Column("stated_at", BIG),
    Column("words", BIG),
    PrimaryKeyConstraint("revision", "position", "number"),
    sqlite_with_rowid=False,
)
Index(
    f"vex_statement_v{projection.VERSION}_by_vulnerability",
    vex_statement.c.vulnerability,
    vex_statement.c.package,
)

vex_words = Table(
    f"vex_words_v{projection.VERSION}",
    PROJECTIONS,
    Column("revision", BIG, nullable=False),
    Column("number", BIG, nullable=False),
    Column("value", LargeBinary, nullable=False),
    PrimaryKeyConstraint("revision", "number"),
    sqlite_with_rowid=False,
)

consensus_state = Table(
    "consensus_state",
    EVIDENCE,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    # The consensus is that of this sequence, once nothing is left in `consensus_touched`.
    Column("sequence", BIG, nullable=False),
    # What it was worked out by: versions of rules and rows, and weights.
    Column("made_by", TEXT, nullable=False),
)

consensus_touched = Table(
    "consensus_touched",
    EVIDENCE,
    # The name that stands for a vulnerability, and one that it is stated under.
    Column("vulnerability", TEXT, nullable=False),
    Column("package", TEXT, nullable=False),
    Column("stated", TEXT, nullable=False),
    PrimaryKeyConstraint("vulnerability", "package", "stated"),
    sqlite_with_rowid=False,
)

# A name under which statements stand and which is no CVE, and the name that stands for it.
consensus_name = Table(
    "consensus_name",
    EVIDENCE,
    Column("stated", TEXT, primary_key=True),
    Column("vulnerability", TEXT, nullable=False),
)

# The names that were walked through to tell that: a document about any of them can change it.
consensus_walk = Table(
    "consensus_walk",
    EVIDENCE,
    Column("name", TEXT, nullable=False),
    Column("stated", TEXT, nullable=False),
    PrimaryKeyConstraint("name", "stated"),
    sqlite_with_rowid=False,
)
Index("consensus_walk_by_stated", consensus_walk.c.stated)

consensus = Table(
    "consensus",
    EVIDENCE,
    Column("vulnerability", TEXT, nullable=False),
    Column("package", TEXT, nullable=False),
    # SHA-256 of all that it is about: the names of products can be longer than some trees hold.
    Column("id", LargeBinary, nullable=False),
    Column("seq_from", BIG, nullable=False),
    Column("seq_to", BIG, nullable=False),
    Column("product", TEXT, nullable=False),
    Column("platform", TEXT, nullable=False),
    Column("subcomponent", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("justification", TEXT, nullable=False),
    Column("conflict", Boolean, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    PrimaryKeyConstraint("vulnerability", "package", "id", "seq_from"),
    sqlite_with_rowid=False,
)
