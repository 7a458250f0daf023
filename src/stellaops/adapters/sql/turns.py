"""Turns at writing a SQLite file, within one process.

SQLite has no queue of those who wait for its one write lock: they sleep and look again, up to a tenth of a second
later. With many threads the lock lies idle most of the time, while some never see it free. So the threads of a process
take turns, and of each process one alone asks the file.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

_HELD = "stella_turn"
_SECONDS = 30.0
_LOCKS: dict[Path, threading.Lock] = {}
_GUARD = threading.Lock()


class Turns:
    """The turns at one file, shared by all engines of the process that write it."""

    def __init__(self, engine: Engine, path: Path) -> None:
        with _GUARD:
            self._lock = _LOCKS.setdefault(path.absolute(), threading.Lock())
        event.listen(engine, "commit", self._end)
        event.listen(engine, "rollback", self._end)
        event.listen(engine, "checkin", self._returned)

    def begin(self, connection: Connection) -> None:
        """Begin a transaction that may write. After a long wait the file decides alone: its errors say more."""
        if self._lock.acquire(timeout=_SECONDS):
            connection.info[_HELD] = True
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except BaseException:
            self._end(connection)
            raise

    def _end(self, connection: Connection) -> None:
        # The transaction ends a moment later: who comes next sleeps for a millisecond at most.
        self._give_back(connection.info)

    def _returned(self, _connection: Any, record: Any) -> None:
        self._give_back(record.info)

    def _give_back(self, info: dict[Any, Any]) -> None:
        if info.pop(_HELD, False):
            self._lock.release()
