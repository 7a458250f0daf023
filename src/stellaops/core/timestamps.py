"""Instants as upstream documents state them, and the one form in which the product writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# `2024-10-01T00:00:00Z`, with milliseconds, with microseconds: what nearly all feeds write.
_COMMON_LENGTHS = (20, 24, 27)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?\s*(?:([Zz])|([+-])(\d\d):?(\d\d))?)?$"
)


@lru_cache(maxsize=4096)
def parse(text: str) -> datetime | None:
    """The instant that a text states, in UTC; None where it states none.

    Accepts what feeds send: any number of fractional digits (cut to microseconds), any offset, a missing offset
    (taken as UTC), a date alone. Year 1, which generators write for "not set", states nothing.
    """
    if len(text) in _COMMON_LENGTHS and text[-1] == "Z" and text[10] == "T":
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            pass  # a leap second, or a form that only looks common
        else:
            return instant if instant.year > 1 else None
    found = _RFC3339.match(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, _zulu, sign, zone_hours, zone_minutes = found.groups()
    zone: timezone = UTC
    try:
        if sign:
            offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
            zone = timezone(offset if sign == "+" else -offset)
        instant = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), min(int(second or 0), 59),
            int((fraction or "0")[:6].ljust(6, "0")), zone,
        ).astimezone(UTC)  # fmt: skip
    except (ValueError, OverflowError):
        return None
    return instant if instant.year > 1 else None


@lru_cache(maxsize=4096)
def render(instant: datetime) -> str:
    """RFC 3339 in UTC with `Z`, with as many fractional digits as needed."""
    text = instant.astimezone(UTC).isoformat().removesuffix("+00:00")
    return f"{text.rstrip('0') if instant.microsecond else text}Z"
