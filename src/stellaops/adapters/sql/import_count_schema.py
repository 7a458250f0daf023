"""What imports did to each source since the store was made."""

from __future__ import annotations

from sqlalchemy import Column, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.schema import EVIDENCE
from stellaops.adapters.sql.types import BIG, TEXT

import_count = Table(
    "import_count",
    EVIDENCE,
    # The name of the metric: documents of advisories, or statements of VEX.
    Column("name", TEXT, nullable=False),
    Column("source", TEXT, nullable=False),
    Column("outcome", TEXT, nullable=False),
    Column("value", BIG, nullable=False),
    PrimaryKeyConstraint("name", "source", "outcome"),
)
