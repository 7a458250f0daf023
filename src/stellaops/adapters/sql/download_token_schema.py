"""Download tokens, in the service store. Nothing here is a secret: of secrets there are digests."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

download_token_t = Table(
    "download_token",
    SERVICE,
    Column("id", TEXT, primary_key=True),
    Column("tenant", TEXT, nullable=False),
    Column("created_at", BIG, nullable=False),
    Column("version", Integer, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Index("download_token_by_tenant", "tenant", "created_at"),
)

download_token_use_t = Table(
    "download_token_use",
    SERVICE,
    Column("token", TEXT, nullable=False),
    Column("secret", Integer, nullable=False),
    Column("used_at", BIG, nullable=False),
    PrimaryKeyConstraint("token", "secret"),
)
