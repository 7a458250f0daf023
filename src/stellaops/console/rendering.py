"""Pages from templates: every value is escaped, unknown names are errors."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from stellaops import __version__
from stellaops.console import charts
from stellaops.core import sizes, timestamps

if TYPE_CHECKING:
    from stellaops.console.visit import Visit

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a browser may load and run on a page: files of this server, and nothing that stands in the page itself."""
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
NAVIGATION = (
    ("/", "Overview", "export:read"),
    ("/runs", "Runs", "export:read"),
    ("/profiles", "Profiles", "export:read"),
    ("/evidence", "Evidence", "concelier.mirror.read"),
    ("/mirrors", "Mirrors", "export:read"),
    ("/notifications", "Notifications", "notify:read"),
    ("/audit", "Audit", "export:read"),
)
"""Path, name and scope of what the header links to."""


def rendered(template: str, visit: Visit, status: int, values: Mapping[str, Any]) -> Response:
    """A page for someone who is logged in."""
    session = visit.session
    links = [(path, name) for path, name, scope in NAVIGATION if visit.may(scope)]
    return plain(
        template,
        status,
        {
            **values,
            "visit": visit,
            "session": session,
            "links": links,
            "here": visit.request.url.path.removeprefix("/console") or "/",
            "tenants": visit.tenants,
        },
    )


def plain(template: str, status: int, values: Mapping[str, Any]) -> Response:
    """A page for anyone."""
    base: dict[str, Any] = {
        "session": None,
        "links": (),
        "here": "",
        "tenants": (),
        "version": __version__,
        "status": status,
    }
    found = environment().get_template(template).render({**base, **values})
    return HTMLResponse(found, status, HEADERS)


@cache
def environment() -> Environment:
    """The templates with what they may use."""
    found = Environment(
        loader=PackageLoader("stellaops.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "ago": ago,
        "bytes": size,
        "instant": instant,
        "number": number,
        "seconds": seconds,
        "short": short,
    }
    found.globals |= {"asset": asset, "charts": charts, "once": lambda: secrets.token_hex(16)}
    return found


@cache
def asset(name: str) -> str:
    """The address of a file of ours, which changes with its content."""
    content = (files("stellaops.console") / "assets" / name).read_bytes()
    return f"/console/assets/{name}?{sha256(content).hexdigest()[:12]}"


# ---- how values are written


def size(value: int | None) -> str:
    """Bytes as people read them."""
    return "-" if value is None else sizes.render(value)


def number(value: float | None) -> str:
    """With a thin space between thousands."""
    return "-" if value is None else f"{value:,.0f}".replace(",", "\u2009")


def seconds(value: float | None) -> str:
    """A length of time."""
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.1f} s"
    minutes, left = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def moment(value: object) -> datetime | None:
    """An instant of the API."""
    if isinstance(value, datetime):
        return value
    return timestamps.parse(str(value)) if value else None


def instant(value: object) -> str:
    """Date and time in UTC, to the second."""
    found = moment(value)
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if found else "-"


def ago(value: object) -> str:
    """How long ago, or in how long."""
    found = moment(value)
    if found is None:
        return "never"
    passed = datetime.now(UTC) - found
    words = _words(abs(passed))
    return f"{words} ago" if passed >= timedelta(0) else f"in {words}"


def _words(length: timedelta) -> str:
    total = length.total_seconds()
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if total >= unit:
            return f"{total / unit:.0f} {name}"
    return f"{total:.0f} s"


def short(value: object, length: int = 12) -> str:
    """The beginning of a digest or an id."""
    text = str(value or "-")
    name, colon, digits = text.partition(":")
    if colon and len(digits) > length:
        return f"{name}:{digits[:length]}…"
    return text if len(text) <= length + 6 else f"{text[:length]}…"
