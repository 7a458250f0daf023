"""What documents say about ids, read from either side."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Select

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.alias_schema import alias_link
from stellaops.adapters.sql.pieces import pieces
from stellaops.advisories.aliases import Link, Relation, Statement

_link, _revision = alias_link.c, schema.revision.c
LINKED = (_link.subject, _link.object, _link.relation, _link.rule, _revision.source, _revision.key)
"""What statements about ids are made of: a link, and the document that says so."""


def said_of(connection: Connection, statement: Select[Any], names: Collection[str]) -> list[Statement]:
    """What is said of some ids, each once, in order.

    Args:
        statement: selects `LINKED` of the revisions that count.
    """
    found: set[Statement] = set()
    for some in pieces(sorted(names)):
        for side in (_link.subject, _link.object):
            for row in connection.execute(statement.where(side.in_(some))):
                told = Link(row.subject, row.object, Relation(row.relation), row.rule)
                found.add(Statement(told, row.source, row.key))
    return sorted(found)
