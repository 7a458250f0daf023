"""When to try again: within one pull, and from pull to pull. Pure; chance and time are arguments."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from stellaops.core.errors import InvalidInput

ATTEMPTS = 5
"""Requests for one file, the first one counted."""

LONGEST_WAIT = 60.0
"""Seconds that a pull waits inside; a longer wish of the server ends the pull and moves the next one."""

CIRCUIT_FAILURES = 5
"""Failed pulls in a row after which a source is only probed: one attempt a file."""

_FIRST_WAIT = 0.5
_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=24)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_CRON_FIELD = re.compile(r"(\*|\d{1,2}(-\d{1,2})?)(/\d{1,2})?(,(\*|\d{1,2}(-\d{1,2})?)(/\d{1,2})?)*")
_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_FARTHEST_DAYS = 1500


class BadSchedule(InvalidInput):
    """A cadence or duration that is none."""

    code = "ERR_PULL_SCHEDULE"
    hint = "Write a duration as 30m, 6h or 1d, or a cron line of five numeric fields in UTC such as '0 */6 * * *'."


def wait_before(attempt: int, retry_after: float | None, chance: float) -> float:
    """Seconds before a file's next attempt: exponential with full jitter, never less than the server asks for.

    Args:
        attempt: how many have failed.
        chance: from 0 up to 1.
    """
    longest = min(LONGEST_WAIT, _FIRST_WAIT * float(1 << min(attempt - 1, 20)))
    return max(longest * (0.5 + chance / 2), retry_after or 0.0)


def pause_after(failures: int, retry_after: float | None, chance: float) -> timedelta:
    """How long a source rests after so many failed pulls in a row."""
    doubled = _FIRST_PAUSE * (1 << min(failures - 1, 20))
    pause = min(doubled, _LONGEST_PAUSE) * (0.75 + chance / 4)
    return max(pause, timedelta(seconds=min(retry_after or 0.0, _LONGEST_PAUSE.total_seconds())))


def retry_after(text: str, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number or a date; None where it says neither."""
    text = text.strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max(0.0, ((then if then.tzinfo else then.replace(tzinfo=UTC)) - now).total_seconds())


def duration(text: str) -> timedelta:
    """A duration such as `90s`, `30m`, `6h`, `7d`.

    Raises:
        BadSchedule: any other text, or zero.
    """
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if found is None or int(found[1]) == 0:
        raise BadSchedule(f"{text[:60]!r} is no duration")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def next_due(every: str, last: datetime | None, now: datetime) -> datetime | None:
    """When a source is due by its cadence; None where it has none.

    Raises:
        BadSchedule: see there.
    """
    if not every:
        return None
    if " " not in every.strip():
        return now if last is None else last + duration(every)
    return _next_cron(every, now if last is None else last)


def _next_cron(line: str, after: datetime) -> datetime:
    minutes, hours, days, months, weekdays = _cron_fields(line)
    restricted = not line.split()[2].startswith("*"), not line.split()[4].startswith("*")
    day = after.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for _ in range(_FARTHEST_DAYS):
        matches = (day.day in days, day.isoweekday() % 7 in weekdays)
        # As cron has it: of two restricted day fields either will do.
        if day.month in months and (any(matches) if all(restricted) else all(matches)):
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    moment = day.replace(hour=hour, minute=minute)
                    if moment > after:
                        return moment
        day += timedelta(days=1)
    raise BadSchedule(f"{line!r} never comes")


def _cron_fields(line: str) -> list[set[int]]:
    fields = line.split()
    if len(fields) != 5 or not all(_CRON_FIELD.fullmatch(each) for each in fields):
        raise BadSchedule(f"{line[:60]!r} is no cron line")
    sets = [_cron_values(each, *bounds) for each, bounds in zip(fields, _CRON_RANGES, strict=True)]
    if not all(sets):
        raise BadSchedule(f"{line[:60]!r} has a field out of its range")
    sets[4] = {value % 7 for value in sets[4]}
    return sets


def _cron_values(text: str, lowest: int, highest: int) -> set[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        start = lowest if span == "*" else int(first)
        end = highest if span == "*" or (step and not dash) else int(last or first)
        if start < lowest or end > highest or step == "0":
            raise BadSchedule(f"{text!r} is out of {lowest} to {highest}")
        values.update(range(start, end + 1, int(step or 1)))
    return values
