"""Who is logged in, as pages need it: the browser has a handle in a cookie that no script can read, and nothing else.

A form that changes something proves by a hidden field that the page it stands on was made for this session.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from stellaops.authority.keep_sessions import Opened
from stellaops.authority.sessions import derived

COOKIE = "stella-console"
_HANDLE = re.compile(r"[A-Za-z0-9_-]{43}")
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Session:
    """One login.

    Attributes:
        handle: what the browser has.
        token: the access token that the API is asked with.
        tenant: whom the pages are about; empty for the token's first.
        who: what the header shows: the client, or who logged in as it.
    """

    handle: str = field(repr=False)
    token: str = field(repr=False)
    tenant: str = ""
    who: str = ""

    @property
    def form_key(self) -> str:
        """What the hidden field of every form says."""
        return derived(self.handle, "forms").hex()

    def is_form_of(self, told: str) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(self.form_key.encode(), told.encode("utf-8", "replace"))

    @property
    def claims(self) -> dict[str, Any]:
        """What the token says, unchecked: for what is shown, never for what is allowed."""
        return claims_of(self.token)

    @property
    def scopes(self) -> frozenset[str]:
        """What the token allows, for leaving out what would be refused."""
        return frozenset(str(self.claims.get("scope") or "").split())


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, unchecked; empty for what is none."""
    try:
        part = token.split(".")[1]
        found = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, msgspec.MsgspecError):
        return {}
    return found if isinstance(found, dict) else {}


def is_tenant(name: str) -> bool:
    """Whether a tenant may be called so."""
    return _TENANT.fullmatch(name) is not None


def session_of(found: Opened) -> Session:
    """A session as pages need it."""
    return Session(found.handle, found.content.token, found.content.tenant, found.content.who)


def handle_of(request: Request) -> str | None:
    """The handle that a browser sends; None without one, or with one that is none of ours."""
    told = request.cookies.get(COOKIE, "")
    return told if _HANDLE.fullmatch(told) else None


def keep(response: Response, handle: str, *, secure: bool, seconds: int) -> None:
    """Give the browser a session."""
    response.set_cookie(
        COOKIE, handle, max_age=seconds, path="/console", secure=secure, httponly=True, samesite="lax"
    )


def forget(response: Response, *, secure: bool) -> None:
    """Take it away."""
    response.delete_cookie(COOKIE, path="/console", secure=secure, httponly=True, samesite="lax")
