"""Bringing a store to the schema of this release, and the guards that keep stored evidence as it is."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, func, inspect, select
from sqlalchemy.dialects.sqlite import insert

from stellaops.adapters.sql import schema
from stellaops.adapters.sql.engine import translated, writing
from stellaops.core.errors import MissingPrerequisite

VERSION = 1

# The other half of the aggregation-only contract: what was stored stays, byte for byte. The only update that a
# revision ever sees is the closing of its interval.
_GUARDS: tuple[str, ...] = (
    """
    CREATE TRIGGER IF NOT EXISTS document_is_immutable BEFORE UPDATE ON document
    BEGIN SELECT RAISE(ABORT, 'ERR_AOC_MUTATION: a stored document cannot be changed'); END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS document_is_kept BEFORE DELETE ON document
    WHEN EXISTS (SELECT 1 FROM revision WHERE revision.id = OLD.id)
    BEGIN SELECT RAISE(ABORT, 'ERR_AOC_MUTATION: a stored document cannot be removed'); END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS raw_block_is_immutable BEFORE UPDATE ON raw_block
    BEGIN SELECT RAISE(ABORT, 'ERR_AOC_MUTATION: stored bytes cannot be changed'); END
    """,
    f"""
    CREATE TRIGGER IF NOT EXISTS revision_is_immutable BEFORE UPDATE ON revision
    WHEN OLD.seq_to <> {schema.OPEN} OR NEW.seq_to <= OLD.seq_from OR NEW.id <> OLD.id OR NEW.owner <> OLD.owner
      OR NEW.source <> OLD.source OR NEW.key <> OLD.key OR NEW.digest <> OLD.digest
      OR NEW.raw_digest <> OLD.raw_digest OR NEW.seq_from <> OLD.seq_from OR NEW.container <> OLD.container
      OR NEW.path <> OLD.path OR NEW.fetched_at <> OLD.fetched_at OR NEW.withdrawn <> OLD.withdrawn
      OR NEW.severity <> OLD.severity OR NEW.stated_at IS NOT OLD.stated_at OR NEW.tlp <> OLD.tlp
      OR NEW.file_offset <> OLD.file_offset
    BEGIN SELECT RAISE(ABORT, 'ERR_AOC_MUTATION: a revision can only be closed, once'); END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS revision_is_kept BEFORE DELETE ON revision
    BEGIN SELECT RAISE(ABORT, 'ERR_AOC_MUTATION: a revision cannot be removed'); END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS container_is_immutable BEFORE UPDATE ON container
    BEGIN SELECT RAISE(ABORT, 'ERR_AOC_PROVENANCE: provenance cannot be changed'); END
    """,
)


_KEPT = """
    CREATE TRIGGER IF NOT EXISTS {table}_is_{word} BEFORE {verb} ON {table}
    BEGIN SELECT RAISE(ABORT, '{code}: what {table} holds cannot be {done}'); END
"""
_GUARDS += tuple(
    _KEPT.format(table=table, verb=verb, word=word, code=code, done=done)
    for table, verb, word, code, done in (
        ("container", "DELETE", "kept", "ERR_AOC_PROVENANCE", "removed"),
        ("raw_block", "DELETE", "kept", "ERR_AOC_MUTATION", "removed"),
        ("tombstone", "UPDATE", "immutable", "ERR_AOC_MUTATION", "changed"),
        ("tombstone", "DELETE", "kept", "ERR_AOC_MUTATION", "removed"),
    )
)


class StoreTooNew(MissingPrerequisite):
    """The store was written by a later release."""

    code = "ERR_STORE_TOO_NEW"
    hint = "Use the release that wrote this store, or a later one."


def migrate(engine: Engine) -> None:
    """Make or update the evidence schema; quick when there is nothing to do.

    Raises:
        StoreTooNew: the schema is of a later release.
    """
    with translated(engine.url.database):
        with engine.connect() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            tables = set(inspect(connection).get_table_names())
        if version > VERSION:
            raise StoreTooNew(f"{engine.url.database} has schema {version}, this release knows {VERSION}")
        if version == VERSION and tables.issuperset(schema.PROJECTIONS.tables):
            return
    with writing(engine) as connection:
        schema.EVIDENCE.create_all(connection)
        schema.PROJECTIONS.create_all(connection)
        for guard in _GUARDS:
            connection.exec_driver_sql(guard)
        connection.execute(insert(schema.head).values(id=1, seq=0).on_conflict_do_nothing())
        _register_projections(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def _register_projections(connection: Connection) -> None:
    last = connection.execute(select(func.coalesce(func.max(schema.document.c.id), 0))).scalar_one()
    for name, version in schema.VERSIONS.items():
        connection.execute(
            insert(schema.projection)
            .values(name=name, version=version, rebuilt_to=0, rebuild_until=last)
            .on_conflict_do_nothing()
        )
