"""Long lists a page at a time, by cursors that nobody needs to understand."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Generic, TypeVar

import msgspec

from stellaops.api.frame.errors import InvalidRequest

T = TypeVar("T")
Limit = Annotated[int, msgspec.Meta(ge=1, le=500, description="how many at most")]
Cursor = Annotated[str, msgspec.Meta(max_length=500, description="`next` of the page before")]
USUAL = 50


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some of a list; `next` is the cursor of the rest, null where there is none."""

    items: list[T]
    next: str | None = None


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page."""

    limit: Limit = USUAL
    cursor: Cursor | None = None


def cursor_of(*place: str | int) -> str:
    """The cursor of what comes after a place."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(cursor: str, *, form: type[T]) -> T:
    """The place that a cursor was made of.

    Raises:
        InvalidRequest: it is none of ours.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=form)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise InvalidRequest("the cursor is not one that this API gave; begin without one") from error
