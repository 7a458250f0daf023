"""What stands around a record, and what was checked beside it; who made which derived rows.

Older releases write none of these columns: a record of theirs has no context and no checks, and a job without a note
of its projections is taken as one whose derived rows this release has still to make.
"""

from __future__ import annotations

from sqlalchemy import Connection, update

from stellaops.adapters.sql.migrations.columns import add_column
from stellaops.adapters.sql.schema import document, job, quarantine


def apply(connection: Connection) -> None:
    """Take the step."""
    add_column(connection, document.c.context)
    add_column(connection, document.c.checked)
    add_column(connection, quarantine.c.context)
    add_column(connection, job.c.projections)
    # What ended before is covered by the rebuild that the projections' own notes ask for.
    connection.execute(update(job).where(job.c.state == "done").values(projections=""))
