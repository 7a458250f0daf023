"""A command as a service: done in turns until it is told to end."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import FrameType
from typing import Any

import click

from stellaops.adapters.telemetry import logs
from stellaops.cli.frame import App
from stellaops.core import durations
from stellaops.core.errors import StellaError

_LOG = logging.getLogger("stellaops.mirrors")
_GRACE_SECONDS = 8.0
"""For which a turn may still put in order what it is at; what a kill leaves, the next turn goes on with."""


def parse_duration(context: click.Context, parameter: click.Parameter, text: str | None) -> timedelta | None:
    """A duration on the command line.

    Raises:
        click.BadParameter: it is none.
    """
    found = None if text is None else durations.parse(text, seconds=True)
    if text is not None and found is None:
        raise click.BadParameter(f"{text!r} is no duration such as 24h, 5m or 30s", context, parameter)
    return found


every_option = click.option(
    "--every",
    callback=parse_duration,
    metavar="D",
    help="Go on as a service: again in turns that begin this far apart; told in the log.",
)


class _Ended(BaseException):
    """Whoever runs the service wants it to end."""


def in_turns(app: App, every: timedelta, event: str, turn: Callable[[], Mapping[str, Any]]) -> None:
    """Do something again and again, until SIGTERM or SIGINT; a turn that fails is logged, and the next one tries again.

    Turns never overlap: one that takes longer than `every` is followed by the next at once.

    Args:
        event: what the log calls a turn that went through; one that did not is `<event>_failed`.
        turn: what is done; answers what the log tells of it.
    """
    logs.configure(app.settings.get("log.level") or "info")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        while True:
            begun = time.monotonic()
            _once(event, turn)
            time.sleep(max(0.0, every.total_seconds() - (time.monotonic() - begun)))
    except _Ended:
        _LOG.info("ended", extra={"event": f"{event}.ended"})


def _once(event: str, turn: Callable[[], Mapping[str, Any]]) -> None:
    begun = time.monotonic()
    try:
        told = turn()
    except StellaError as error:
        _LOG.error(
            "%s",
            error.what,
            extra={"event": f"{event}_failed", "errorCode": error.code, "hint": error.advice},
        )
    except Exception:  # noqa: BLE001 - the next turn has to come, whatever this one met
        _LOG.exception("a turn failed", extra={"event": f"{event}_failed", "errorCode": "ERR_INTERNAL"})
    else:
        seconds = round(time.monotonic() - begun, 3)
        _LOG.info("done", extra={"event": event, "seconds": seconds, **told})


def _end(number: int, frame: FrameType | None) -> None:
    """Leave the turn where it is; files on their way are waited for, but not for long."""
    del number, frame
    last = threading.Timer(_GRACE_SECONDS, os._exit, (0,))
    last.daemon = True
    last.start()
    raise _Ended
