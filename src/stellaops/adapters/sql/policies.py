"""Policy overlays and snapshots on SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Engine, insert, select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.moments import valid
from stellaops.adapters.sql.policy_schema import policy_snapshot
from stellaops.adapters.sql.sources import instant
from stellaops.core.digests import Digest
from stellaops.core.timestamps import EPOCH
from stellaops.findings.ports import StoredSnapshot
from stellaops.ingest.import_documents import microseconds
from stellaops.policy.feed import PolicyFeed
from stellaops.policy.overlay import Overlay
from stellaops.policy.snapshot import Snapshot, parse

_FEED = PolicyFeed()
_table = policy_snapshot.c


class SqlPolicies:
    """`findings.ports.Policies` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def overlays(self, tenant: str, sequence: int | None = None) -> Sequence[Overlay]:
        """See the port."""
        revision, document, source = schema.revision.c, schema.document.c, schema.source.c
        statement = (
            select(revision.path, document.verbatim, document.body)
            .join(schema.revision, revision.id == document.id)
            .join(schema.source, source.name == revision.source)
            .where(source.feed == _FEED.name, revision.owner == tenant, valid(sequence))
            .order_by(revision.source, revision.key)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(statement).all()
        read = (
            _FEED.read(
                _FEED.canonical(row.path, row.body).parsed if row.verbatim else msgspec.json.decode(row.body)
            )
            for row in rows
        )
        return [overlay for overlay in read if overlay is not None]

    @retried
    def keep(self, tenant: str, snapshot: Snapshot, taken_at: datetime) -> None:
        """See the port."""
        digest = snapshot.digest
        mine = (_table.tenant == tenant, _table.digest == digest)
        with writing(self._engine) as connection:
            if connection.execute(select(_table.digest).where(*mine)).first() is not None:
                return
            sequence = connection.execute(select(schema.head.c.seq)).scalar_one()
            connection.execute(
                insert(policy_snapshot).values(
                    tenant=tenant,
                    digest=digest,
                    body=snapshot.body,
                    taken_at=microseconds(taken_at),
                    sequence=sequence,
                )
            )

    def snapshot(self, tenant: str, digest: str) -> Snapshot | None:
        """See the port."""
        statement = select(_table.body).where(_table.tenant == tenant, _table.digest == digest)
        with reading(self._engine) as connection:
            body = connection.execute(statement).scalar()
        return None if body is None else parse(bytes(body))

    def snapshots(self, tenant: str) -> Sequence[StoredSnapshot]:
        """See the port."""
        statement = (
            select(_table.digest, _table.taken_at, _table.sequence)
            .where(_table.tenant == tenant)
            .order_by(_table.taken_at, _table.sequence, _table.digest)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(statement).all()
        return [
            StoredSnapshot(Digest(row.digest), instant(row.taken_at) or EPOCH, row.sequence) for row in rows
        ]
