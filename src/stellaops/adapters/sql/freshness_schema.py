"""The newest freshness statement of each tenant's profiles; an older one has no use."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

freshness_t = Table(
    "freshness",
    SERVICE,
    Column("tenant", TEXT, nullable=False),
    Column("profile", TEXT, nullable=False),
    Column("version", BIG, nullable=False),
    # The snapshot that the export was cut from: an older one does not become the newest again.
    Column("sequence", BIG, nullable=False),
    # As it was signed, byte for byte, and the signature as it stands in the file beside it.
    Column("statement", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "profile"),
)
