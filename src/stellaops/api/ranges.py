"""The part of a file that a request asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re

from starlette.requests import Request

from stellaops.core.errors import InvalidInput

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})")


class RangeNotSatisfiable(InvalidInput):
    """The part that a request asks for begins after the end of the file."""

    code = "ERR_RANGE_NOT_SATISFIABLE"
    hint = "Ask for bytes within the length that Content-Range names."

    def __init__(self, size: int) -> None:
        """`size` is the file's length in bytes."""
        super().__init__(f"the file has {size:,} bytes")
        self.size = size


def wanted_range(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """First byte and the one after the last; None for the whole.

    A header that cannot be understood, one that asks for several parts, and one for another version of the file
    (If-Range) ask for the whole.

    Raises:
        RangeNotSatisfiable: see there.
    """
    told = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if told is None or told[0] == "" or request.headers.get("if-range", etag).strip() != etag:
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
        raise RangeNotSatisfiable(size)
    return begin, end
