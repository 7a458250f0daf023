"""Logs as lines of JSON, one event each."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from stellaops.core import timestamps

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
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


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log to standard error as lines of JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
