"""The statements of VEX documents as exports read them: those of a selection, by vulnerability."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, Select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.alias_links import LINKED, said_of
from stellaops.adapters.sql.alias_schema import alias_link
from stellaops.adapters.sql.engine import dialect_of, reading
from stellaops.adapters.sql.evidence import selected
from stellaops.adapters.sql.pieces import pieces
from stellaops.adapters.sql.vex_consensus import HELD, as_held
from stellaops.adapters.sql.vex_schema import vex_document, vex_statement
from stellaops.adapters.sql.vex_words import words_at
from stellaops.advisories.aliases import Statement
from stellaops.exports.ports import Selection
from stellaops.vex.consensus import Held
from stellaops.vex.statement import Words

_revision, _statement = schema.revision.c, vex_statement.c


class SqlVexRows:
    """`exports.building.vex_verdicts.VexRows` on an evidence store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def vulnerabilities(self, selection: Selection, package: str | None = None) -> Sequence[str]:
        """See the port."""
        statement = self._of(selection, package, _statement.vulnerability).distinct()
        with reading(self._engine) as connection:
            return connection.execute(statement).scalars().all()

    def statements(
        self, selection: Selection, names: Collection[str], package: str | None = None
    ) -> Sequence[Held]:
        """See the port."""
        statement = self._of(selection, package, *HELD).join(
            vex_document, vex_document.c.revision == _statement.revision
        )
        found: list[Held] = []
        with reading(self._engine) as connection:
            for some in pieces(sorted(names)):
                rows = connection.execute(statement.where(_statement.vulnerability.in_(some)))
                found.extend(as_held(row) for row in rows)
        return found

    def links(self, selection: Selection, names: Collection[str]) -> Sequence[Statement]:
        """See the port."""
        link = alias_link.c
        statement = selected(dialect_of(self._engine), selection, *LINKED).join(
            alias_link, link.revision == _revision.id
        )
        with reading(self._engine) as connection:
            return said_of(connection, statement, names)

    def words(self, places: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Words]:
        """See the port."""
        return words_at(self._engine, places)

    def _of(self, selection: Selection, package: str | None, *columns: Any) -> Select[Any]:
        statement = selected(dialect_of(self._engine), selection, *columns)
        joined = statement.join(vex_statement, _statement.revision == _revision.id)
        stands = joined.where(~_revision.withdrawn)
        return stands if package is None else stands.where(_statement.package == package)
