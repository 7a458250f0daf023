"""Service step 6: the newest runs of a profile, without a look at every run of its tenant."""

from __future__ import annotations

from sqlalchemy import Connection

from stellaops.adapters.sql.service_schema import run_by_profile


def apply(connection: Connection) -> None:
    """Take the step."""
    run_by_profile.create(connection, checkfirst=True)
