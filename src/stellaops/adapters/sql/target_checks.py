"""What came of fetching bundles back from their targets; failures are counted with it, and logged."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, insert, select, update

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.metering import VERIFY_FAILURES, count
from stellaops.adapters.sql.notify_outbox import note_check
from stellaops.adapters.sql.sources import instant
from stellaops.adapters.sql.upkeep_schema import target_check_t
from stellaops.core.timestamps import EPOCH
from stellaops.exports.distribution.verify_targets import FAILED, OK, TargetCheck
from stellaops.ingest.import_documents import microseconds

_LOG = logging.getLogger("stellaops.verify")


class _Record(msgspec.Struct):
    kind: str
    driver: str
    run_id: str
    reference: str
    status: str
    failed: list[tuple[str, str]] = []
    remarks: list[str] = []
    bytes: int = 0
    seconds: float = 0.0


class SqlTargetChecks:
    """`exports.distribution.verify_targets.TargetChecks`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, check: TargetCheck) -> None:
        """See the port. A failure is logged as `verify.failed`, with run and target."""
        self._put(check)
        if check.status != FAILED:
            return
        what = "; ".join(f"{name}: {detail}" for name, detail in check.failed)
        told = {
            "event": "verify.failed", "runId": check.run_id, "profile": check.profile, "tenant": check.tenant,
            "target": check.target, "checks": [name for name, _ in check.failed],
        }  # fmt: skip
        text = "verify.failed %s at target %s: %s"
        _LOG.error(text, check.run_id, check.target, what[:2000], extra=told)

    @retried
    def _put(self, check: TargetCheck) -> None:
        own = (
            target_check_t.c.tenant == check.tenant,
            target_check_t.c.profile == check.profile,
            target_check_t.c.target == check.target,
        )
        values: dict[str, Any] = {"at": microseconds(check.at), "record": _encoded(check)}
        if check.status == OK:
            values["sound_at"] = microseconds(check.at)
        with writing(self._engine) as connection:
            if not connection.execute(update(target_check_t).where(*own).values(values)).rowcount:
                key = {"tenant": check.tenant, "profile": check.profile, "target": check.target}
                connection.execute(insert(target_check_t).values(**key, **values))
            _count(connection, check)
            note_check(connection, check)

    def all(self, tenant: str | None = None) -> Sequence[tuple[TargetCheck, datetime | None]]:
        """See the port: by tenant, profile and target."""
        table = target_check_t
        statement = select(table).order_by(table.c.tenant, table.c.profile, table.c.target)
        if tenant is not None:
            statement = statement.where(table.c.tenant == tenant)
        with reading(self._engine) as connection:
            rows = connection.execute(statement).all()
        return [(_check(row), instant(row.sound_at)) for row in rows]


def _count(connection: Connection, check: TargetCheck) -> None:
    own = {"profile": check.profile, "profile_kind": check.kind}
    for name in sorted({name for name, _ in check.failed}):
        count(connection, VERIFY_FAILURES, own | {"check": name}, 1)


def _encoded(check: TargetCheck) -> bytes:
    return msgspec.json.encode(
        _Record(
            check.kind,
            check.driver,
            check.run_id,
            check.reference,
            check.status,
            list(check.failed),
            list(check.remarks),
            check.bytes,
            check.seconds,
        )
    )


def _check(row: Any) -> TargetCheck:
    found = msgspec.json.decode(row.record, type=_Record)
    return TargetCheck(
        row.tenant, row.profile, found.kind, row.target, found.driver, found.run_id, found.reference,
        instant(row.at) or EPOCH, found.status, tuple(found.failed), tuple(found.remarks), found.bytes, found.seconds,
    )  # fmt: skip
