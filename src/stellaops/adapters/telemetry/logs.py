"""Logs as lines of JSON, one event each."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from stellaops.core import timestamps
from stellaops.core.errors import StellaError

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_OURS = "stellaops"
_ENCODER = msgspec.json.Encoder(enc_hook=str)


class JsonLines(logging.Formatter):
    """`time level logger message`, then whatever the event has: `event runId profile tenant errorCode traceId`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        wire: dict[str, Any] = {
            "time": timestamps.render(moment),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        more = ((name, value) for name, value in vars(record).items() if name not in _OWN)
        wire |= {name: value for name, value in more if value is not None and value != ""}
        if record.exc_info:
            wire["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return _ENCODER.encode(wire).decode()


class _Appending(logging.Handler):
    """Adds lines to a file that is opened for each: several commands may write it, and it may be rotated."""

    def __init__(self, place: Callable[[], str | None]) -> None:
        super().__init__()
        self._place = place
        self.setFormatter(JsonLines())

    def emit(self, record: logging.LogRecord) -> None:
        """See logging. A log that cannot be written stops no command."""
        try:
            place = self._place()
            if place is not None:
                line = f"{self.format(record)}\n".encode()
                descriptor = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
                try:
                    os.write(descriptor, line)
                finally:
                    os.close(descriptor)
        except (OSError, StellaError) as error:
            print(f"note: the log cannot be written: {error}", file=sys.stderr)  # noqa: T201 - for people


def configure_commands(place: Callable[[], str | None]) -> None:
    """Have commands add their events to a file, where there is one; their results and errors stand elsewhere.

    Args:
        place: of the file; asked for each event.
    """
    logger = logging.getLogger(_OURS)
    _forget(logger)
    logger.addHandler(_Appending(place))
    logger.setLevel(logging.INFO)


def _forget(logger: logging.Logger) -> None:
    for handler in [each for each in logger.handlers if isinstance(each, _Appending)]:
        logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log to standard error as lines of JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    _forget(logging.getLogger(_OURS))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
