"""Service step 5: which runs keep bundles, so that adding them up does not read every run that ever was.

Null for runs that have not ended, and in rows that a release with an older schema wrote: their records are looked at.
"""

from __future__ import annotations

from sqlalchemy import Connection

from stellaops.adapters.sql.migrations.columns import add_column
from stellaops.adapters.sql.service_schema import run_by_keeps, run_t


def apply(connection: Connection) -> None:
    """Take the step."""
    add_column(connection, run_t.c.keeps)
    run_by_keeps.create(connection, checkfirst=True)
