"""Durations on the command line."""

from __future__ import annotations

from datetime import timedelta

import click

from stellaops.core import durations


class Duration(click.ParamType[timedelta]):
    """A duration such as `24h`, `90m`, `7d`.

    Args:
        said: what follows `is no duration` where a text is none: which there are.
        seconds: whether it may be in seconds.
        zero: whether it may be `0`.
        name: in the place of values in the help.
    """

    def __init__(
        self,
        said: str = " such as 24h, 90m or 7d",
        *,
        seconds: bool = False,
        zero: bool = False,
        name: str = "duration",
    ) -> None:
        self._said, self._seconds, self._zero, self.name = said, seconds, zero, name

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """See click."""
        if isinstance(value, timedelta):
            return value
        text = str(value)
        found = timedelta() if self._zero and text == "0" else durations.parse(text, seconds=self._seconds)
        if found is None:
            self.fail(f"{text!r} is no duration{self._said}", param, ctx)
        return found
