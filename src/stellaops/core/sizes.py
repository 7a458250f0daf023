"""Sizes as people write and read them: `50GiB`, `1.5TB`, `4096`."""

from __future__ import annotations

import re
from decimal import Decimal

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s?(?:([kmgtp])(i?)b?|b)?", re.IGNORECASE)
_POWERS = "kmgtp"
_BINARY, _DECIMAL = 1024, 1000
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def parse(text: str) -> int | None:
    """The bytes of a text: whole bytes, or with one of k, M, G, T, P, by 1024 with an `i` after it, else by 1000.

    None for another form.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        return None
    number, unit, binary = found.groups()
    factor = (_BINARY if binary else _DECIMAL) ** (_POWERS.index(unit.lower()) + 1) if unit else 1
    return int(Decimal(number) * factor)


def render(size: int) -> str:
    """A size with three digits or so: `12.3 GiB`."""
    shown, unit = float(size), 0
    while abs(shown) >= _BINARY and unit < len(_UNITS) - 1:
        shown, unit = shown / _BINARY, unit + 1
    return f"{size} {_UNITS[0]}" if unit == 0 else f"{shown:.1f} {_UNITS[unit]}"
