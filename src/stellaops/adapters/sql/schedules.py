"""The schedules of all profiles of all tenants."""

from __future__ import annotations

import msgspec
from sqlalchemy import Engine, func, select

from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.service_schema import profile_t
from stellaops.exports.profile import Spec


class SqlSchedules:
    """What is to be run by itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> dict[tuple[str, str], str]:
        """The schedule of each profile, by tenant and name, as its newest revision says."""
        newest = (
            select(profile_t.c.tenant, profile_t.c.name, func.max(profile_t.c.number).label("number"))
            .where(~profile_t.c.deleted)
            .group_by(profile_t.c.tenant, profile_t.c.name)
            .subquery()
        )
        statement = select(profile_t.c.tenant, profile_t.c.name, profile_t.c.spec).join(
            newest,
            (profile_t.c.tenant == newest.c.tenant)
            & (profile_t.c.name == newest.c.name)
            & (profile_t.c.number == newest.c.number),
        )
        with reading(self._engine) as connection:
            rows = connection.execute(statement).all()
        found = {
            (row.tenant, row.name): msgspec.json.decode(row.spec, type=Spec).schedule
            for row in rows
            if b'"schedule"' in bytes(row.spec)
        }
        return {key: schedule for key, schedule in found.items() if schedule}
