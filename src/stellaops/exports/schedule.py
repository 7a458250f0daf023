"""When a profile is run by itself: five fields of cron, in UTC."""

from __future__ import annotations

import re

from stellaops.exports.errors import InvalidProfile

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_PART = re.compile(r"(\*|[0-9a-z]{1,3})(?:-([0-9a-z]{1,3}))?(?:/([0-9]{1,2}))?")


def check_schedule(text: str) -> str:
    """A schedule such as `0 3 * * *` or `*/30 8-18 * * mon-fri`, as it is.

    Raises:
        InvalidProfile: another form, or a time that never comes.
    """
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        raise InvalidProfile(
            f"{text[:80]!r} is no schedule: minute, hour, day, month, day of the week are needed"
        )
    for field, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        if not all(_is_part(part, low, high, names) for part in field.split(",")):
            raise InvalidProfile(f"{field[:80]!r} is no {name} of a schedule, {low} to {high}")
    return text


def _is_part(part: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    found = _PART.fullmatch(part)
    if not found:
        return False
    first, last, step = found.groups()
    if step is not None and (not 1 <= int(step) <= high or (first != "*" and last is None)):
        return False
    if first == "*":
        return last is None
    begin = _number(first, low, names)
    end = begin if last is None else _number(last, low, names)
    return begin is not None and end is not None and low <= begin <= end <= high


def _number(text: str, low: int, names: tuple[str, ...]) -> int | None:
    if text.isdecimal():
        return int(text)
    return names.index(text) + low if text in names else None
