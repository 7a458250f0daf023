"""Service step 3: versions and attempts of runs, their events, and the digest of what they do."""

from __future__ import annotations

from sqlalchemy import Connection

from stellaops.adapters.sql.migrations.columns import add_column
from stellaops.adapters.sql.service_schema import run_indexes, run_t


def apply(connection: Connection) -> None:
    """Add what rows of runs lack; the table of events is made with all other tables of their own."""
    for name in ("version", "attempt", "events", "plan_digest"):
        add_column(connection, run_t.c[name])
    for index in run_indexes:
        index.create(connection, checkfirst=True)
