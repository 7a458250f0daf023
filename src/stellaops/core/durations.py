"""Durations as people write them: `90m`, `24h`, `7d`."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(r"([0-9]{1,6})([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def parse(text: str) -> timedelta | None:
    """The duration of a text; None for another form, or for zero."""
    found = _DURATION.fullmatch(text)
    return int(found[1]) * _UNITS[found[2]] if found and int(found[1]) else None
