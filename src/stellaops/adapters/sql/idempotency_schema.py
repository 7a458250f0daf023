"""The table of answers that were given under an Idempotency-Key."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

kept_answer = Table(
    "kept_answer",
    SERVICE,
    # A digest of tenant, client and key: nobody can look up keys in the store.
    Column("id", TEXT, primary_key=True),
    Column("request", TEXT, nullable=False),
    Column("seed", TEXT, nullable=False),
    # 0 while the request is being worked on.
    Column("status", Integer, nullable=False),
    Column("headers", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # Until then nobody else works on it; renewed while its process lives.
    Column("leased_until", BIG, nullable=False),
    Column("expires_at", BIG, nullable=False),
    Index("kept_answer_by_expiry", "expires_at"),
)
