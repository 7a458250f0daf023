"""The part of a file that a request asks for (RFC 9110, section 14)."""

from __future__ import annotations

from starlette.requests import Request

from stellaops.core import byte_ranges
from stellaops.core.byte_ranges import Unsatisfiable
from stellaops.core.errors import InvalidInput


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
    if request.headers.get("if-range", etag).strip() != etag:
        return None
    try:
        return byte_ranges.wanted_range(request.headers.get("range", ""), size)
    except Unsatisfiable:
        raise RangeNotSatisfiable(size) from None
