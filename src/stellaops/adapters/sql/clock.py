"""The time by a database server's clock."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine, func, select

from stellaops.adapters.sql.engine import reading


def database_time(engine: Engine) -> datetime | None:
    """What the server takes the time for, in UTC; None where there is no server but a file."""
    if engine.dialect.name == "sqlite":
        return None
    with reading(engine) as connection:
        told: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return told.astimezone(UTC)
