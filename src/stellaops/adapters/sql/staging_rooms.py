"""How much room the machines have that bundles are built on, as their workers last said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, insert, select, update

from stellaops.adapters.sql.engine import reading, retried, writing
from stellaops.adapters.sql.sources import instant
from stellaops.adapters.sql.upkeep_schema import staging_room_t
from stellaops.core.timestamps import EPOCH
from stellaops.ingest.import_documents import microseconds

FORGOTTEN = timedelta(hours=1)
"""After which a machine that says nothing is taken for gone."""


@dataclass(frozen=True, slots=True)
class StagingRoom:
    """A disk that bundles are built on, in bytes.

    Attributes:
        size: of the disk.
        free: on the disk.
        staged: that lies in the staging places.
    """

    host: str
    place: str
    at: datetime
    size: int
    free: int
    staged: int


class SqlStagingRooms:
    """The disks of all machines."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retried
    def note(self, room: StagingRoom) -> None:
        """Keep what a machine says of itself; those that say nothing any more go."""
        own = (staging_room_t.c.host == room.host, staging_room_t.c.place == room.place)
        values = {
            "at": microseconds(room.at),
            "size": room.size,
            "free": room.free,
            "staged": room.staged,
        }
        gone = staging_room_t.c.at < microseconds(room.at - FORGOTTEN)
        with writing(self._engine) as connection:
            if not connection.execute(update(staging_room_t).where(*own).values(values)).rowcount:
                connection.execute(insert(staging_room_t).values(host=room.host, place=room.place, **values))
            connection.execute(delete(staging_room_t).where(gone))

    def all(self) -> Sequence[StagingRoom]:
        """Of every machine that has said something lately, by host."""
        statement = select(staging_room_t).order_by(staging_room_t.c.host, staging_room_t.c.place)
        with reading(self._engine) as connection:
            rows = connection.execute(statement).all()
        return [
            StagingRoom(row.host, row.place, instant(row.at) or EPOCH, row.size, row.free, row.staged)
            for row in rows
        ]
