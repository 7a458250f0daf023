"""Durations as people write them: `90m`, `24h`, `7d`; where that is short enough to matter, `30s`."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def parse(text: str, *, seconds: bool = False) -> timedelta | None:
    """The duration of a text; None for another form, or for zero.

    Args:
        seconds: whether it may be in seconds.
    """
    found = _DURATION.fullmatch(text)
    if found is None or not int(found[1]) or (found[2] == "s" and not seconds):
        return None
    return int(found[1]) * _UNITS[found[2]]


def render(duration: timedelta) -> str:
    """A duration in the largest unit that gives a whole number, as `8 days` or `10 seconds`."""
    for unit, name in ((_UNITS["d"], "day"), (_UNITS["h"], "hour"), (_UNITS["m"], "minute")):
        if duration and not duration % unit:
            return _counted(duration // unit, name)
    return _counted(int(duration.total_seconds()), "second")


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
