"""The bulk path: many rows into a table with as little per row as the driver allows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table


def bulk_insert(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, keep: bool = False
) -> None:
    """Insert rows given as tuples in column order.

    Args:
        keep: leave rows alone that exist under the same primary key, instead of failing.
    """
    if rows:
        connection.exec_driver_sql(_statement(table, keep), list(rows))


@cache
def _statement(table: Table, keep: bool) -> str:
    columns = ", ".join(column.name for column in table.columns)
    marks = ", ".join("?" for _ in table.columns)
    tail = " ON CONFLICT DO NOTHING" if keep else ""
    return f"INSERT INTO {table.name} ({columns}) VALUES ({marks}){tail}"
