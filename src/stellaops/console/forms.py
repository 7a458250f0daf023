"""What forms send: read within bounds, and only where they were sent from a page of ours."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request

from stellaops.console.session import Session

_MOST = 30  # fields
_LARGEST = 256 << 10  # bytes of a field: profiles are the longest


class FormRefused(Exception):
    """A form that was not made for this session, not sent from a page of ours, or is too large.

    Attributes:
        why: a sentence.
        written: what was sent, where it came from a page of ours.
    """

    def __init__(self, why: str, written: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.why, self.written = why, dict(written or {})


async def fields(request: Request, *, largest: int = _LARGEST) -> dict[str, str]:
    """The fields of a form that are texts; of several with one name the last.

    Raises:
        FormRefused: see there.
    """
    _demand_same_origin(request)
    try:
        async with request.form(max_files=0, max_fields=_MOST, max_part_size=largest) as sent:
            return {name: value for name, value in sent.items() if isinstance(value, str)}
    except HTTPException:
        raise FormRefused("The form is too large, or damaged.") from None


async def fields_of(request: Request, session: Session) -> dict[str, str]:
    """The same of a form that was made for a session.

    Raises:
        FormRefused: see there.
    """
    found = await fields(request)
    if not session.is_form_of(found.pop("check", "")):
        raise FormRefused("The form was made for another session.", found)
    return found


def _demand_same_origin(request: Request) -> None:
    told = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise FormRefused("The form comes from another site.")
    if told is not None and urlsplit(told).netloc != request.headers.get("host", ""):
        raise FormRefused("The form comes from another site.")
