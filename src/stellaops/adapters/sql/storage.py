"""How much is kept: bundles by the records of runs, the stores themselves by what their databases say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Engine, or_, select, text

from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.run_records import lies_at
from stellaops.adapters.sql.service_schema import run_t
from stellaops.exports.retention.storage import ARTEFACTS, Stored

_PAGE = 1000


class _Size(msgspec.Struct):
    kind: str
    export_id: str | None = None
    archive_id: str | None = None
    artifacts: list[tuple[str, str, str, int]] = []
    targets: list[dict[str, Any]] = []
    removed_at: datetime | None = None

    @property
    def bytes(self) -> int:
        return sum(each[3] for each in self.artifacts)


_DECODER = msgspec.json.Decoder(_Size)
_Key = tuple[str, str, str, str]


class SqlStorage:
    """`exports.retention.storage.Storage`: a bundle that several runs share counts once, for the oldest of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def stored(self, tenant: str | None = None) -> Sequence[Stored]:
        """See the port."""
        sums: dict[_Key, list[int]] = defaultdict(lambda: [0, 0])
        seen: set[tuple[str, str, str]] = set()
        for own, profile, record in self._records(tenant):
            found = _DECODER.decode(record)
            if not found.archive_id or not found.export_id:
                continue
            for store in _places(found):
                key = (store, found.export_id, found.archive_id)
                if key in seen:
                    continue
                seen.add(key)
                total = sums[own, store, profile, found.kind]
                total[0] += found.bytes
                total[1] += 1
        return [
            Stored(own, profile, kind, store, *total)
            for (own, store, profile, kind), total in sorted(sums.items())
        ]

    def _records(self, tenant: str | None) -> Iterator[tuple[str, str, bytes]]:
        statement = (
            select(run_t.c.tenant, run_t.c.profile, run_t.c.record)
            .where(or_(run_t.c.keeps.is_(None), run_t.c.keeps))
            .order_by(run_t.c.submitted_at, run_t.c.id)
        )
        if tenant is not None:
            statement = statement.where(run_t.c.tenant == tenant)
        with (
            reading(self._engine) as connection,
            connection.execution_options(yield_per=_PAGE).execute(statement) as rows,
        ):
            for row in rows:
                yield row.tenant, row.profile, row.record


def _places(found: _Size) -> Iterator[str]:
    """Where a run's bundle lies."""
    if found.removed_at is None:
        yield ARTEFACTS
    yield from (str(told["target"]) for told in found.targets if lies_at(told))


def database_bytes(engine: Engine) -> int:
    """How much a store takes in its database, indexes and free pages with it."""
    statements = {
        "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
        "postgresql": (
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c"
            " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'm')"
        ),
    }
    with reading(engine) as connection:
        return int(connection.execute(text(statements[engine.dialect.name])).scalar_one())
