"""Who tells people: one worker of all at a time, in a thread of its own; when it dies, another within half a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import datetime

from stellaops.adapters.sql.notify_conditions import SqlNotifyTurn
from stellaops.bootstrap import Local
from stellaops.center import notifying
from stellaops.core.errors import DependencyFailed, StellaError
from stellaops.notify.delivery import Delivery, Status

_LOG = logging.getLogger("stellaops.notify")
TICK = 2.0
"""Seconds between two passes."""
LOOK, PRUNE = 60.0, 3600.0
"""Seconds between two looks at what may be late, and two times of forgetting."""
_AT_ONCE = 8


class Notifier:
    """The thread of one worker.

    Args:
        name: of the worker.
        now: the clock.
    """

    def __init__(self, local: Local, name: str, now: Callable[[], datetime]) -> None:
        self._local, self._now = local, now
        _ = local.notify_tools  # settings that cannot be are told before anything is begun
        self._turn = SqlNotifyTurn(local.service_engine, name)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, name="notifier", daemon=True)
        self._looked = self._pruned = float("-inf")
        self._pool = ThreadPoolExecutor(_AT_ONCE, "notify")
        self._busy: dict[tuple[str, str], Future[None]] = {}

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Begin nothing more, and let another worker go on."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        wait(self._busy.values(), seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)
        try:
            self._turn.give_up()
        except StellaError as error:
            _LOG.info("the turn to notify was not given up: %s", error.what)

    def once(self) -> bool:
        """One pass, if it is this worker's turn; whether it was.

        What is due is begun, not waited for; of one channel one message after the other, so that a receiver that does
        not answer holds up its own messages alone.
        """
        if not self._turn.take(self._now()):
            return False
        moment = time.monotonic()
        if moment - self._looked > LOOK:
            notifying.patient_look(self._local, self._now())
            self._looked = moment
        self._begin()
        if moment - self._pruned > PRUNE:
            notifying.prune(self._local, self._now())
            self._pruned = moment
        return True

    def settle(self) -> None:
        """Wait for what was begun."""
        wait(self._busy.values())

    def _begin(self) -> None:
        self._busy = {channel: each for channel, each in self._busy.items() if not each.done()}
        waiting: dict[tuple[str, str], list[Delivery]] = {}
        for each in notifying.due(self._local):
            waiting.setdefault((each.tenant, each.channel), []).append(each)
        for channel, deliveries in waiting.items():
            if channel not in self._busy:
                self._busy[channel] = self._pool.submit(self._deliver, deliveries)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Messages of one channel; where one has to be tried again, the others wait for the next pass too."""
        for each in deliveries:
            with _patient():
                done = notifying.deliver(self._local, each)
                if self._stop.is_set() or (done is not None and done.status is Status.PENDING):
                    return

    def _go(self) -> None:
        while not self._stop.wait(TICK):
            with _patient():
                self.once()


@contextmanager
def _patient() -> Iterator[None]:
    """What fails in here is logged, and tried again at the next pass."""
    try:
        yield
    except (DependencyFailed, OSError) as error:
        _LOG.warning("notifications have to wait: %s", error)
    except StellaError as error:
        _LOG.error("notifications have failed: %s", error.what)
    except Exception:  # noqa: BLE001 - a flaw in one provider must not end what tells of all others
        _LOG.exception("notifications have failed")
