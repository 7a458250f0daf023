"""The tables of this release's projections, which stand beside those of others."""

from __future__ import annotations

from sqlalchemy import Connection, and_, func, inspect, select, update

from stellaops.adapters.sql import schema


def make(connection: Connection) -> None:
    """Make what is missing, and note up to which document rows must be made."""
    missing = set(schema.PROJECTIONS.tables) - set(inspect(connection).get_table_names())
    schema.PROJECTIONS.create_all(connection)
    table = schema.projection
    last = connection.execute(select(func.coalesce(func.max(schema.document.c.id), 0))).scalar_one()
    for name, version in schema.VERSIONS.items():
        this = and_(table.c.name == name, table.c.version == version)
        if connection.execute(select(table.c.name).where(this)).first() is None:
            connection.execute(
                table.insert().values(name=name, version=version, rebuilt_to=0, rebuild_until=last)
            )
        elif any(each.startswith(f"{name}_") and each.endswith(f"_v{version}") for each in missing):
            # Another release removed the tables; what it noted of their rows is void.
            connection.execute(update(table).where(this).values(rebuilt_to=0, rebuild_until=last))
