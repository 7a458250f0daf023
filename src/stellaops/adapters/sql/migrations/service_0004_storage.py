"""Service step 4: how much the kept bundles of a tenant may take."""

from __future__ import annotations

from sqlalchemy import Connection, inspect

from stellaops.adapters.sql.authority_schema import tenant_t
from stellaops.adapters.sql.migrations.columns import add_column


def apply(connection: Connection) -> None:
    """Take the step; a store without tenants gets the table with all others of their own."""
    if inspect(connection).has_table(tenant_t.name):
        add_column(connection, tenant_t.c.max_storage)
