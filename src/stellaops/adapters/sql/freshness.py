"""Freshness statements in the service store."""

from __future__ import annotations

from sqlalchemy import Engine, insert, select, update

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.freshness_schema import freshness_t
from stellaops.exports.issue_freshness import Signed, VersionTaken


class SqlFreshness:
    """`exports.issue_freshness.Statements`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def newest(self, tenant: str, profile: str) -> Signed | None:
        """See the port."""
        statement = select(freshness_t).where(
            freshness_t.c.tenant == tenant, freshness_t.c.profile == profile
        )
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        return Signed(row.version, row.statement, row.signature, row.sequence) if row else None

    def put(self, tenant: str, profile: str, signed: Signed) -> None:
        """See the port."""
        if not self._put(tenant, profile, signed):
            raise VersionTaken(
                f"version {signed.version} of {profile} of tenant {tenant} was issued meanwhile"
            )

    @retried
    def _put(self, tenant: str, profile: str, signed: Signed) -> bool:
        values = {
            "version": signed.version, "statement": signed.statement, "signature": signed.signature,
            "sequence": signed.sequence,
        }  # fmt: skip
        place = (freshness_t.c.tenant == tenant, freshness_t.c.profile == profile)
        with writing(self._engine) as connection:
            before = (freshness_t.c.version == signed.version - 1,)
            changed = connection.execute(update(freshness_t).where(*place, *before).values(values))
            if changed.rowcount or connection.execute(select(freshness_t.c.version).where(*place)).first():
                return bool(changed.rowcount)
            connection.execute(insert(freshness_t).values(tenant=tenant, profile=profile, **values))
            return True
