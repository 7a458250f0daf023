"""Sessions of the console, in the service store. Nothing here opens one: their content is sealed under the handle."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

session_t = Table(
    "console_session",
    SERVICE,
    Column("id", TEXT, primary_key=True),
    Column("client", TEXT, nullable=False),
    Column("began_at", BIG, nullable=False),
    Column("used_at", BIG, nullable=False),
    Column("renewing_until", BIG),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("console_session_by_use", "used_at"),
    Index("console_session_by_begin", "began_at"),
)
