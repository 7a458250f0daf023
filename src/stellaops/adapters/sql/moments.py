"""Which revisions hold at a sequence."""

from __future__ import annotations

from sqlalchemy import and_
from sqlalchemy.sql import ColumnElement

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.schema import OPEN

_revision = schema.revision.c


def valid(sequence: int | None) -> ColumnElement[bool]:
    """Of revisions, those that hold at a sequence; the current ones for None."""
    if sequence is None:
        return _revision.seq_to == OPEN
    return and_(_revision.seq_from <= sequence, _revision.seq_to > sequence)
