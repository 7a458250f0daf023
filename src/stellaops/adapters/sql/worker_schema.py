"""Tables of the workers beside those of the queue's engine: who is alive, whether the queue is paused, losses."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, Table

from stellaops.adapters.sql.service_schema import SERVICE
from stellaops.adapters.sql.types import BIG, TEXT

worker_t = Table(
    "worker",
    SERVICE,
    Column("id", TEXT, primary_key=True),
    Column("state", TEXT, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("started_at", BIG, nullable=False),
    # The last sign of life, in seconds of the database's own clock; 0 gives everything of it to the others at once.
    Column("beat", Float, nullable=False),
)

queue_pause = Table(
    "queue_pause",
    SERVICE,
    # One row, with the id 1, while the queue is paused.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("since", BIG, nullable=False),
)

run_loss = Table(
    "run_loss",
    SERVICE,
    Column("run_id", TEXT, primary_key=True),
    # One for each attempt that began and has not ended in an orderly way, the one under way among them; two where its
    # own process died.
    Column("losses", Integer, nullable=False),
)

TABLES = (worker_t, queue_pause, run_loss)
