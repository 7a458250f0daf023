"""Writing the rows of bills of materials."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from stellaops.adapters.sql.engine import dialect_of
from stellaops.adapters.sql.sbom_schema import sbom_component, sbom_document
from stellaops.sboms.projection import SbomRows


class Components:
    """Rows of several documents, to be written together."""

    def __init__(self) -> None:
        self._documents: list[tuple[Any, ...]] = []
        self._components: list[tuple[Any, ...]] = []

    def add(self, revision: int, made: SbomRows) -> None:
        """The rows of one document."""
        head = (made.subject, made.form, made.family, made.release, len(made.components))
        self._documents.append((revision, *head))
        self._components.extend((revision, *row) for row in made.components)

    def write(self, connection: Connection) -> None:
        """Write them; rows that exist stay as they are."""
        dialect = dialect_of(connection)
        for table, rows in ((sbom_document, self._documents), (sbom_component, self._components)):
            if rows:
                dialect.insert_many(connection, table, rows, keep=True)
