"""What the moving names of targets stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, insert, select, update

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.sources import instant
from stellaops.adapters.sql.target_schema import target_latest
from stellaops.core.timestamps import EPOCH
from stellaops.exports.distribution.ports import Pointed
from stellaops.ingest.import_documents import microseconds


class SqlLatest:
    """`exports.distribution.ports.LatestNames`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, target: str, tenant: str, profile: str) -> Pointed | None:
        """See the port."""
        own = (
            target_latest.c.target == target,
            target_latest.c.tenant == tenant,
            target_latest.c.profile == profile,
        )
        with reading(self._engine) as connection:
            row = connection.execute(select(target_latest).where(*own)).first()
        return _pointed(row) if row else None

    @retried
    def note(self, pointed: Pointed) -> None:
        """See the port."""
        key = {"target": pointed.target, "tenant": pointed.tenant, "profile": pointed.profile}
        values = {
            "run_id": pointed.run_id,
            "sequence": pointed.sequence,
            "submitted_at": microseconds(pointed.submitted_at),
            "reference": pointed.reference,
            "at": microseconds(pointed.at),
        }
        own = [target_latest.c[name] == value for name, value in key.items()]
        with writing(self._engine) as connection:
            if not connection.execute(update(target_latest).where(*own).values(values)).rowcount:
                connection.execute(insert(target_latest).values(**key, **values))

    def all(self, tenant: str) -> Sequence[Pointed]:
        """See the port."""
        statement = select(target_latest).where(target_latest.c.tenant == tenant)
        with reading(self._engine) as connection:
            rows = connection.execute(
                statement.order_by(target_latest.c.target, target_latest.c.profile)
            ).all()
        return [_pointed(row) for row in rows]


def _pointed(row: Any) -> Pointed:
    return Pointed(
        row.target,
        row.tenant,
        row.profile,
        row.run_id,
        row.sequence,
        instant(row.submitted_at) or EPOCH,
        row.reference,
        instant(row.at) or EPOCH,
    )
