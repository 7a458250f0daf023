"""The revisions that began in a span of sequences, found without reading the others: what a delta is made from."""

from __future__ import annotations

from sqlalchemy import Connection

from stellaops.adapters.sql.schema import revision


def apply(connection: Connection) -> None:
    """Take the step."""
    next(index for index in revision.indexes if index.name == "revision_by_start").create(
        connection, checkfirst=True
    )
