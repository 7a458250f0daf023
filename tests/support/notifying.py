"""A notifier as a process of its own, for what has to die: `python -m tests.support.notifying SECONDS`.

Its clock is ahead by so many seconds, so that what a dead process had in hand is over without waiting for it.
"""

from __future__ import annotations

import os
import sys
import threading
from datetime import timedelta

from stellaops.adapters.settings import load as settings
from stellaops.adapters.telemetry import logs
from stellaops.bootstrap import Local, clock
from stellaops.worker import notifying
from stellaops.worker.notifying import Notifier


def main() -> None:
    """Tell until the process ends."""
    ahead, real = timedelta(seconds=float(sys.argv[1])), clock.now
    clock.now = lambda: real() + ahead
    notifying.TICK = 0.05
    logs.configure("info")
    local = Local(settings.load({}))
    Notifier(local, f"p{os.getpid()}", clock.now).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
