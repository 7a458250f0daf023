"""Access tokens that were checked a moment ago."""

from __future__ import annotations

import time
from collections.abc import Callable

from anyio import to_thread
from starlette.requests import Request

from stellaops.authority.access import Principal
from stellaops.core.errors import NotAuthenticated

_SECONDS = 1.0
_MOST = 5000


class Tokens:
    """Checks tokens, and remembers for a second that one held: that much later does a revocation take effect."""

    def __init__(self, check: Callable[[str], Principal]) -> None:
        self._check = check
        self._known: dict[str, tuple[Principal, float]] = {}

    async def principal(self, token: str) -> Principal:
        """Who asks.

        Raises:
            NotAuthenticated: the token does not hold.
        """
        now = time.monotonic()
        known = self._known.get(token)
        if known is not None and now < known[1]:
            return known[0]
        principal = await to_thread.run_sync(self._check, token)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[token] = (principal, now + _SECONDS)
        return principal


def bearer(request: Request) -> str:
    """The access token that a request carries.

    Raises:
        NotAuthenticated: it carries none.
    """
    told = request.headers.getlist("authorization")
    if len(told) != 1:
        raise NotAuthenticated("an access token is needed: Authorization: Bearer TOKEN")
    scheme, _, token = told[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("an access token is needed: Authorization: Bearer TOKEN")
    return token.strip()
