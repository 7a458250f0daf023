"""Domains of mirrors and the record of publications, in the service store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Engine, Row, delete, func, insert, select, update

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.errors import StoreConflict
from stellaops.adapters.sql.mirror_schema import mirror_domain, mirror_offered, mirror_publication
from stellaops.adapters.sql.sources import instant
from stellaops.core import canonical_json, digests
from stellaops.ingest.import_documents import microseconds
from stellaops.mirrors.domain import Document, Domain, Side
from stellaops.mirrors.errors import DomainTaken, PublicationConflict
from stellaops.mirrors.ports import Publication


class SqlDomains:
    """`mirrors.ports.Domains`."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine, self._now = engine, now

    def get(self, domain: str) -> Domain | None:
        """See the port."""
        statement = select(mirror_domain).where(mirror_domain.c.id == domain)
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        return None if row is None else _domain(row)

    def every(self) -> Sequence[Domain]:
        """See the port."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(mirror_domain)).all()
        return sorted(map(_domain, rows), key=lambda each: each.id)

    @retried
    def put(self, domain: Domain) -> bool:
        """See the port."""
        table = mirror_domain
        body = canonical_json.encode(msgspec.to_builtins(domain.document))
        values = {"document": body, "changed_at": microseconds(self._now())}
        with writing(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.id == domain.id)).first()
            if row is None:
                connection.execute(insert(table).values(id=domain.id, tenant=domain.tenant, **values))
                return True
            if row.tenant != domain.tenant:
                raise DomainTaken(f"the id {domain.id} belongs to another tenant")
            if _domain(row) == domain:
                return False
            connection.execute(update(table).where(table.c.id == domain.id).values(values))
            return True

    def delete(self, tenant: str, domain: str) -> bool:
        """See the port."""
        table = mirror_domain
        with writing(self._engine) as connection:
            done = connection.execute(delete(table).where(table.c.id == domain, table.c.tenant == tenant))
            return bool(done.rowcount)


def _domain(row: Row[Any]) -> Domain:
    return Domain(row.tenant, msgspec.json.decode(row.document, type=Document))


class SqlPublications:
    """`mirrors.ports.Publications`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def current(self, place: str, side: Side) -> Publication | None:
        """See the port."""
        table = mirror_publication
        statement = (
            select(table)
            .where(table.c.place == place, table.c.side == side)
            .order_by(table.c.number.desc())
            .limit(1)
        )
        with reading(self._engine) as connection:
            row = connection.execute(statement).first()
        if row is None:
            return None
        published = instant(row.published_at)
        assert published is not None  # noqa: S101 - the column holds no null
        return Publication(
            side, row.number, row.export_id, row.sequence, digests.parse(row.states), published
        )

    def add(self, place: str, publication: Publication) -> None:
        """See the port."""
        try:
            added = self._add(place, publication)
        except StoreConflict:
            added = False
        if not added:
            raise PublicationConflict(
                f"publication {publication.number} of {publication.side} to {place} was made meanwhile"
            )

    def _add(self, place: str, publication: Publication) -> bool:
        table = mirror_publication
        newest = select(func.coalesce(func.max(table.c.number), 0)).where(
            table.c.place == place, table.c.side == publication.side
        )
        with writing(self._engine) as connection:
            if connection.execute(newest).scalar_one() != publication.number - 1:
                return False
            connection.execute(
                insert(table).values(
                    place=place,
                    side=publication.side,
                    number=publication.number,
                    export_id=publication.export_id,
                    sequence=publication.sequence,
                    states=publication.states,
                    published_at=microseconds(publication.published_at),
                )
            )
            return True

    def confirm(self, place: str, publication: Publication) -> None:
        """See the port."""
        table = mirror_publication
        statement = (
            update(table)
            .where(
                table.c.place == place,
                table.c.side == publication.side,
                table.c.number == publication.number,
            )
            .values(sequence=publication.sequence, states=publication.states)
        )
        with writing(self._engine) as connection:
            connection.execute(statement)

    def superseded(self, place: str, side: Side, before: datetime) -> Sequence[str]:
        """See the port: an id was the newest until the publication after it."""
        table = mirror_publication
        statement = (
            select(table.c.export_id, table.c.published_at)
            .where(table.c.place == place, table.c.side == side)
            .order_by(table.c.number)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(statement).all()
        until: dict[str, int | None] = {}
        for row, after in zip(rows, [*rows[1:], None], strict=True):
            until[row.export_id] = None if after is None else after.published_at
        bound = microseconds(before)
        return [export_id for export_id, end in until.items() if end is not None and end < bound]

    def forget(self, place: str, side: Side, export_id: str) -> None:
        """See the port."""
        table = mirror_publication
        with writing(self._engine) as connection:
            connection.execute(
                delete(table).where(
                    table.c.place == place, table.c.side == side, table.c.export_id == export_id
                )
            )

    def offered(self, side: Side) -> Collection[str]:
        """See the port."""
        table = mirror_offered
        with reading(self._engine) as connection:
            return set(connection.execute(select(table.c.domain).where(table.c.side == side)).scalars())

    @retried
    def offer(self, side: Side, domains: Collection[str]) -> None:
        """See the port."""
        missing = sorted(set(domains) - set(self.offered(side)))
        if not missing:
            return
        rows = [{"side": side, "domain": each} for each in missing]
        with writing(self._engine) as connection:
            connection.execute(insert(mirror_offered), rows)
