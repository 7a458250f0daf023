"""What no kept run needs may be removed: guards that know the floor of the evidence, and blocks by their documents."""

from __future__ import annotations

from sqlalchemy import Connection

from stellaops.adapters.sql.engine import dialect_of
from stellaops.adapters.sql.schema import document


def apply(connection: Connection) -> None:
    """Take the step; the guards are put up again with the tables."""
    dialect_of(connection).drop_guards(connection)
    next(index for index in document.indexes if index.name == "document_by_block").create(
        connection, checkfirst=True
    )
