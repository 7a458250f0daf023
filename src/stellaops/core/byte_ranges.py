"""The part of a representation that a request asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII)


class Unsatisfiable(ValueError):
    """The part begins after the end."""


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for the whole.

    A header that cannot be understood, and one that asks for several parts, ask for the whole.

    Args:
        header: the value of `Range`; empty where there is none.
        size: of the representation, in bytes.

    Raises:
        Unsatisfiable: see there.
    """
    told = _RANGE.fullmatch(header)
    if told is None:
        return None
    first, last = told[1], told[2]
    if not first and not last:
        return None
    if not first:  # the last so many bytes
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < begin:
            return None
    if begin >= size or begin >= end:
        raise Unsatisfiable
    return begin, end
