"""Columns for tables that exist."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, inspect
from sqlalchemy.schema import CreateColumn


def add_column(connection: Connection, column: Column[Any]) -> None:
    """Add a column as the schema of this release declares it, unless the table has it.

    Only columns that may be null: releases that do not know them write rows without them.
    """
    table = column.table
    if not column.nullable:
        raise ValueError(f"{column} cannot be added: rows would lack it")
    if column.name not in {each["name"] for each in inspect(connection).get_columns(table.name)}:
        declared = CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {declared}")
