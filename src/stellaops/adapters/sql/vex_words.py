"""What VEX statements say in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Engine, select, tuple_

from stellaops.adapters.sql.engine import reading
from stellaops.adapters.sql.pieces import pieces
from stellaops.adapters.sql.vex_schema import vex_words
from stellaops.vex.projection import words_of
from stellaops.vex.statement import Words


def words_at(engine: Engine, places: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Words]:
    """The words of statements by their places: revision, and number in it."""
    table = vex_words.c
    found: dict[tuple[int, int], Words] = {}
    with reading(engine) as connection:
        for some in pieces(sorted(places)):
            statement = select(table.revision, table.number, table.value).where(
                tuple_(table.revision, table.number).in_(some)
            )
            for revision, number, value in connection.execute(statement):
                found[revision, number] = words_of(value)
    return found
