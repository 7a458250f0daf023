"""Tenants, clients, public keys of access tokens, and the audit log, in the service store. Nothing here is a secret."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

tenant_t = Table(
    "tenant",
    SERVICE,
    Column("id", TEXT, primary_key=True),
    Column("max_active_runs", Integer, nullable=False),
    Column("max_queued_runs", Integer, nullable=False),
    Column("created_at", BIG),
    # Null for no bound, and where a release with an older schema wrote the row.
    Column("max_storage", BIG),
)

client_t = Table(
    "authority_client",
    SERVICE,
    Column("id", TEXT, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("record", LargeBinary, nullable=False),
    # Tokens that were issued before this instant are refused; all of them, where it is revoked.
    Column("cut_at", BIG, index=True),
    Column("revoked", Boolean, nullable=False),
)

secret_use_t = Table(
    "authority_secret_use",
    SERVICE,
    Column("client", TEXT, nullable=False),
    Column("secret", Integer, nullable=False),
    Column("used_at", BIG, nullable=False),
    PrimaryKeyConstraint("client", "secret"),
)

token_key_t = Table(
    "authority_token_key",
    SERVICE,
    Column("id", TEXT, primary_key=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("created_at", BIG, nullable=False),
    Column("signs_until", BIG, nullable=False),
    Column("revoked_at", BIG),
)

audit_t = Table(
    "audit",
    SERVICE,
    # Begins with the instant, so that ids in the order of their bytes are records in the order of time.
    Column("id", TEXT, primary_key=True),
    Column("at", BIG, nullable=False),
    Column("tenant", TEXT, nullable=False),
    Column("actor", TEXT, nullable=False),
    Column("origin", TEXT, nullable=False),
    Column("action", TEXT, nullable=False),
    Column("target", TEXT, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Index("audit_by_tenant", "tenant", "id"),
)
