"""What workers do by themselves once a day, one of all each chore; and what they say of their disks.

In a thread of its own, so that the sweep waits for nothing, and the work in a child process. A worker that ends gives
back what it has begun; of one that dies, another takes it on when the lease is over.
"""

from __future__ import annotations

import logging
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from stellaops.adapters.files.workspace import staged_bytes
from stellaops.adapters.settings.load import InvalidSettings, Settings
from stellaops.adapters.sql.chores import SqlChores
from stellaops.adapters.sql.staging_rooms import SqlStagingRooms, StagingRoom
from stellaops.core.errors import DependencyFailed, StellaError
from stellaops.worker.children import Child
from stellaops.worker.chore_child import CHORES, Done, order_of

_LOG = logging.getLogger("stellaops.worker")
FIRST, EVERY = 60.0, 30.0
"""Seconds until the first look at what is due, and between two."""
_NOTED = 60.0
_RENEWED = 20.0
_LONGEST = 6 * 3600.0
_TICK = 0.5
_MODULE = "stellaops.worker.chore_child"
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
OFF = "off"


@dataclass(frozen=True, slots=True)
class Chore:
    """A chore and the time of the day, in UTC, from which on it is due."""

    name: str
    hour: int
    minute: int

    def since(self, now: datetime) -> timedelta:
        """How long ago it was last due."""
        today = now.replace(hour=self.hour, minute=self.minute, second=0, microsecond=0)
        return now - (today if today <= now else today - timedelta(days=1))


def chores_of(settings: Settings) -> Iterator[Chore]:
    """The chores that the settings have done.

    Raises:
        InvalidSettings: a time of the day that there is not.
    """
    for name in CHORES:
        text = (settings.get(f"chores.{name}At") or OFF).strip().lower()
        found = _TIME.fullmatch(text)
        if found:
            yield Chore(name, int(found[1]), int(found[2]))
        elif text != OFF:
            raise InvalidSettings(
                f"chores.{name}At: a time as 02:30 (UTC) or `{OFF}` is needed, not {text[:40]!r}"
            )


class Chores:
    """The thread of one worker.

    Args:
        place: the directory whose disk bundles are built on.
        now: the clock.
    """

    def __init__(
        self,
        settings: Settings,
        chores: SqlChores,
        rooms: SqlStagingRooms,
        place: Path,
        now: Callable[[], datetime],
    ) -> None:
        self._settings, self._store, self._rooms = settings, chores, rooms
        self._place, self._now = place, now
        self._chores = tuple(chores_of(settings))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, name="chores", daemon=True)
        self._noted = float("-inf")

    def start(self) -> None:
        """Begin to look for what is due."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Give back what was begun, and look for nothing more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def once(self) -> None:
        """Do what is due and in nobody's hands."""
        for chore in self._chores:
            if self._stop.is_set():
                return
            with _patient(f"chore {chore.name}"):
                now = self._now()
                if self._store.claim(chore.name, now, chore.since(now)):
                    self._do(chore.name)

    def note_room(self) -> None:
        """Say how much room this machine has."""
        usage = shutil.disk_usage(next(each for each in (self._place, *self._place.parents) if each.exists()))
        staged = staged_bytes(self._place)
        host, place = socket.gethostname(), str(self._place)
        self._rooms.note(StagingRoom(host, place, self._now(), usage.total, usage.free, staged))

    def _go(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(1.0):
            if time.monotonic() - self._noted > _NOTED:
                with _patient("the disk"):
                    self.note_room()
                self._noted = time.monotonic()
            if time.monotonic() - began > FIRST:
                self.once()
                began = time.monotonic() - FIRST + EVERY

    def _do(self, name: str) -> None:
        _LOG.info("chore.started %s", name, extra={"event": "chore.started", "chore": name})
        child, began = Child(_MODULE), time.monotonic()
        try:
            child.begin(order_of(self._settings, name))
            done = self._until_end(name, child)
        finally:
            child.close()
        if done is None:
            self._store.release(name)
            return
        self._store.finished(name, self._now(), ok=done.ok, report=done.report)
        _tell(name, done, time.monotonic() - began)

    def _until_end(self, name: str, child: Child) -> Done | None:
        """What came of a chore; None where the worker ends before it does."""
        renewed = began = time.monotonic()
        while not child.wait(_TICK):
            now = time.monotonic()
            if self._stop.is_set():
                return None
            if now - began > _LONGEST:
                return Done(ok=False, report={"error": f"it took longer than {_LONGEST:.0f} s"})
            if now - renewed > _RENEWED:
                with _patient(f"chore {name}"):
                    self._store.renew(name, self._now())
                renewed = now
        try:
            return msgspec.json.decode(child.answer, type=Done)
        except msgspec.DecodeError:
            return Done(ok=False, report={"error": f"its process died: {child.last_words}"})


def _tell(name: str, done: Done, seconds: float) -> None:
    event = "chore.finished" if done.ok else "chore.failed"
    level = logging.INFO if done.ok else logging.ERROR
    extra = {"event": event, "chore": name, "seconds": round(seconds, 3), "report": done.report}
    _LOG.log(level, "%s %s", event, name, extra=extra)


@contextmanager
def _patient(what: str) -> Iterator[None]:
    """What fails in here is logged, and tried again at the next look."""
    try:
        yield
    except (DependencyFailed, OSError) as error:
        _LOG.warning("%s has to wait: %s", what, error)
    except StellaError as error:
        _LOG.error("%s has failed: %s", what, error.what)
