"""What findings are made from, on SQL: bills of materials, rows of advisories by package, severities.

Each can be narrowed to what an export selects; then it is the export's sequence and tenant that count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, and_, func, or_, select
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import dialect_of, reading
from stellaops.adapters.sql.evidence import selected
from stellaops.adapters.sql.moments import valid
from stellaops.adapters.sql.pieces import pieces
from stellaops.adapters.sql.sbom_schema import sbom_component, sbom_document
from stellaops.adapters.sql.sources import instant
from stellaops.adapters.sql.vex_exports import SqlVexRows
from stellaops.advisories import databases
from stellaops.advisories.aliases import Statement
from stellaops.bundles.trivy.marks import ABOUT, REJECTED
from stellaops.bundles.trivy.values import decode_detail, severity_of
from stellaops.core.timestamps import EPOCH
from stellaops.exports.ports import Selection
from stellaops.exports.selectors import TLP_ORDER
from stellaops.findings.find import Tools
from stellaops.findings.ports import Parts, StoredSbom
from stellaops.ingest.model import SHARED
from stellaops.matching.lookup import Lookup
from stellaops.matching.match import Row
from stellaops.sboms.component import Component, Platform
from stellaops.vex.consensus import Held

_revision = schema.revision.c


class SqlSboms:
    """`findings.ports.Sboms` on an evidence store.

    Args:
        tlp_at_most: the highest marking of those that are meant; all when None.
    """

    def __init__(self, engine: Engine, tlp_at_most: str | None = None) -> None:
        self._engine = engine
        self._tlp = TLP_ORDER if tlp_at_most is None else TLP_ORDER[: TLP_ORDER.index(tlp_at_most) + 1]

    def sboms(
        self, tenant: str, wanted: str | None = None, sequence: int | None = None
    ) -> Sequence[StoredSbom]:
        """See the port."""
        table = sbom_document.c
        statement = (
            select(
                _revision.source, _revision.key, _revision.digest, _revision.path, _revision.fetched_at,
                table.revision, table.subject, table.form, table.family, table.release, table.components,
            )
            .join(schema.revision, _revision.id == table.revision)
            .where(_revision.owner == tenant, valid(sequence), _revision.tlp.in_(self._tlp))
            .order_by(_revision.source, _revision.key)
        )  # fmt: skip
        if wanted is not None:
            statement = statement.where(
                or_(table.subject == wanted, _revision.key == wanted, _revision.path == wanted)
            )
        with reading(self._engine) as connection:
            return [_sbom(row) for row in connection.execute(statement)]

    def parts(self, sbom: StoredSbom) -> Parts:
        """See the port."""
        table = sbom_component.c
        columns = (
            table.purl,
            table.name,
            table.version,
            table.source_name,
            table.source_version,
            table.parents,
        )
        statement = select(*columns).where(table.revision == sbom.revision).order_by(table.number)
        with reading(self._engine) as connection:
            rows = connection.execute(statement).all()
        parents = {number: tuple(map(int, row[5].split(","))) for number, row in enumerate(rows) if row[5]}
        return Parts(tuple(Component(*row[:5]) for row in rows), parents)


class SqlAdvisories:
    """`findings.ports.Advisories` on an evidence store.

    Args:
        selection: the only documents that are meant; all that the tenant sees when None.
    """

    def __init__(self, engine: Engine, selection: Selection | None = None) -> None:
        self._engine = engine
        self._selection = selection

    def rows(
        self, places: Collection[Lookup], tenant: str, sequence: int | None = None
    ) -> Mapping[tuple[str, str], Sequence[Row]]:
        """See the port: every bucket and some packages of it are one range of the primary key."""
        wanted: dict[str, set[str]] = {}
        for place in places:
            wanted.setdefault(place.bucket, set()).add(place.package)
        found: dict[tuple[str, str], list[Row]] = {}
        with reading(self._engine) as connection:
            buckets = list(_buckets(connection)) if wanted else []
            for name, packages in sorted(wanted.items()):
                for bucket in buckets:
                    if bucket == name or (name.endswith("::") and bucket.startswith(name)):
                        for row in self._rows(connection, bucket, sorted(packages), tenant, sequence):
                            found.setdefault((name, row.package), []).append(row)
        return found

    def severities(
        self, vulnerabilities: Collection[str], tenant: str, sequence: int | None = None
    ) -> Mapping[str, Mapping[str, int]]:
        """See the port."""
        table, detail, source = schema.trivy_vulnerability.c, schema.trivy_detail.c, schema.source.c
        columns = (table.vulnerability, _revision.source, _revision.key, detail.value, source.database)
        statement = (
            self._of(schema.trivy_vulnerability, columns, tenant, sequence)
            .join(schema.trivy_detail, and_(detail.revision == table.revision, detail.part == table.part))
            .join(schema.source, source.name == _revision.source)
        )
        rows: set[tuple[str, int, str, str, str, int]] = set()
        with reading(self._engine) as connection:
            for some in pieces(sorted(vulnerabilities)):
                for row in connection.execute(statement.where(table.vulnerability.in_(some))):
                    database = databases.get(row.database) or databases.GENERIC
                    severity = int(severity_of(decode_detail(bytes(row.value))))
                    rank = (database.rank, database.name)
                    rows.add((row.vulnerability, *rank, row.source, row.key, severity))
        found: dict[str, dict[str, int]] = {}
        for name, _, _, told_by, key, severity in sorted(rows):
            found.setdefault(name, {})[f"{told_by}\t{key}"] = severity
        return found

    def rejected(
        self, vulnerabilities: Collection[str], tenant: str, sequence: int | None = None
    ) -> Collection[str]:
        """See the port."""
        table = schema.trivy_advisory.c
        statement = self._of(schema.trivy_advisory, (table.vulnerability,), tenant, sequence).where(
            table.bucket == ABOUT, table.package == REJECTED
        )
        with reading(self._engine) as connection:
            return {
                name
                for some in pieces(sorted(vulnerabilities))
                for name in connection.execute(statement.where(table.vulnerability.in_(some))).scalars()
            }

    def _rows(
        self, connection: Connection, bucket: str, packages: Sequence[str], tenant: str, sequence: int | None
    ) -> Iterator[Row]:
        table = schema.trivy_advisory.c
        columns = (
            table.bucket, table.package, table.vulnerability, table.strength, table.value,
            _revision.source, _revision.key, _revision.digest,
        )  # fmt: skip
        statement = self._of(schema.trivy_advisory, columns, tenant, sequence).where(table.bucket == bucket)
        for some in pieces(packages):
            for row in connection.execute(statement.where(table.package.in_(some))):
                yield Row(row[0], row[1], row[2], row[3], bytes(row[4]), *row[5:])

    def _of(
        self, table: Table, columns: Sequence[ColumnElement[Any]], tenant: str, sequence: int | None
    ) -> Select[Any]:
        """Columns of a derived table, of the documents that are meant."""
        if self._selection is not None:
            chosen = selected(dialect_of(self._engine), self._selection, *columns)
            return chosen.join(table, table.c.revision == _revision.id)
        joined = select(*columns).select_from(table).join(schema.revision, _revision.id == table.c.revision)
        return joined.where(_revision.owner.in_([SHARED, tenant]), valid(sequence))


class SelectedStatements:
    """`findings.ports.Statements` on what an export selects."""

    def __init__(self, engine: Engine, selection: Selection) -> None:
        self._rows = SqlVexRows(engine)
        self._selection = selection

    def statements(
        self,
        names: Collection[str],
        tenant: str,
        *,
        sequence: int | None = None,
        packages: Collection[str] | None = None,
    ) -> Sequence[Held]:
        """See the port."""
        found = self._rows.statements(self._selection, names)
        return [held for held in found if packages is None or held.package in packages]

    def links(self, names: Collection[str], tenant: str, sequence: int | None = None) -> Sequence[Statement]:
        """See the port."""
        return self._rows.links(self._selection, names)


def selected_findings(engine: Engine, selection: Selection) -> Tools:
    """What findings are worked out with where an export's selection is all the evidence there is."""
    return Tools(
        SqlSboms(engine, selection.selectors.tlp_at_most),
        SqlAdvisories(engine, selection),
        SelectedStatements(engine, selection),
    )


def _buckets(connection: Connection) -> Iterator[str]:
    """The names of all buckets: one step of the primary key each, however many rows there are."""
    column = schema.trivy_advisory.c.bucket
    last: str | None = ABOUT
    while last is not None:
        last = connection.execute(select(func.min(column)).where(column > last)).scalar()
        if last is not None:
            yield last


def _sbom(row: Any) -> StoredSbom:
    return StoredSbom(
        source=row.source,
        key=row.key,
        digest=row.digest,
        path=row.path,
        subject=row.subject,
        form=row.form,
        platform=Platform(row.family, row.release) if row.family else None,
        components=row.components,
        fetched_at=instant(row.fetched_at) or EPOCH,
        revision=row.revision,
    )
