"""Who is logged in: an access token in a cookie that no script can read, for as long as the token lives.

The server keeps nothing: any process of the API knows any session, and a revoked client's session ends with its token.
A form that changes something proves by a hidden field that the page it stands on was made for this session.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

COOKIE = "stella-console"
LONGEST_COOKIE = 3800
"""Characters of the longest token that fits into a cookie; browsers drop larger cookies without a word."""
_SEED = 24  # bytes
_LARGEST = 16 << 10
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Session:
    """One login.

    Attributes:
        seed: of chance; what the forms' hidden fields are made of.
        token: the access token.
        tenant: whom the pages are about; empty for the token's first.
        who: what the header shows: the client, or who logged in as it.
    """

    seed: bytes = field(repr=False)
    token: str = field(repr=False)
    tenant: str = ""
    who: str = ""

    @property
    def form_key(self) -> str:
        """What the hidden field of every form says."""
        return hmac.new(self.seed, b"forms", hashlib.sha256).hexdigest()

    def is_form_of(self, told: str) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(self.form_key.encode(), told.encode("utf-8", "replace"))

    def of_tenant(self, tenant: str) -> Session:
        """The same for another tenant."""
        return replace(self, tenant=tenant)

    @property
    def claims(self) -> dict[str, Any]:
        """What the token says, unchecked: for what is shown, never for what is allowed."""
        try:
            part = self.token.split(".")[1]
            found = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        except (IndexError, ValueError, msgspec.MsgspecError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def scopes(self) -> frozenset[str]:
        """What the token allows, for leaving out what would be refused."""
        return frozenset(str(self.claims.get("scope") or "").split())

    @property
    def expires_at(self) -> int:
        """When it ends, in seconds of the clock."""
        told = self.claims.get("exp")
        return told if isinstance(told, int) else 0


def is_tenant(name: str) -> bool:
    """Whether a tenant may be called so."""
    return _TENANT.fullmatch(name) is not None


def begun(token: str, who: str, tenant: str = "") -> Session:
    """A login that was just proved."""
    return Session(secrets.token_bytes(_SEED), token, tenant, who)


def session_of(request: Request) -> Session | None:
    """The session that a request belongs to; None without one, or with one that is no session of ours."""
    told = request.cookies.get(COOKIE, "")
    if not told or len(told) > _LARGEST:
        return None
    try:
        seed, tenant, who, token = told.split("~", 3)
        found = Session(_decoded(seed), token, tenant, _decoded(who).decode())
    except (ValueError, binascii.Error):
        return None
    if len(found.seed) != _SEED or (tenant and not _TENANT.fullmatch(tenant)) or not token.isascii():
        return None
    return found


def keep(response: Response, session: Session, *, secure: bool, seconds: int) -> None:
    """Give the browser a session."""
    value = "~".join((_encoded(session.seed), session.tenant, _encoded(session.who.encode()), session.token))
    response.set_cookie(
        COOKIE, value, max_age=seconds, path="/console", secure=secure, httponly=True, samesite="lax"
    )


def forget(response: Response, *, secure: bool) -> None:
    """End the browser's session."""
    response.delete_cookie(COOKIE, path="/console", secure=secure, httponly=True, samesite="lax")


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode("ascii").rstrip("=")


def _decoded(value: str) -> bytes:
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
