"""Ways into downloads beside access tokens: download tokens, and signed links to single files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from starlette.requests import Request

from stellaops.api.operation import Operation
from stellaops.authority import download_tokens
from stellaops.authority.access import Confined, Principal, ScopeMissing
from stellaops.bootstrap import Local, now
from stellaops.exports.distribution import links

_Part = Annotated[str, msgspec.Meta(max_length=200)]


class LinkQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a signed link carries; all of it or nothing."""

    tenant: _Part | None = None
    expires: _Part | None = None
    key: _Part | None = None
    signature: _Part | None = None


class Openings:
    """Who asks, by what the request carries."""

    def __init__(self, local: Local) -> None:
        self._local = local

    def by_token(self, token: str) -> Principal:
        """The one whom an access token or a download token names.

        Raises:
            NotAuthenticated: the token does not hold.
        """
        if token.startswith(download_tokens.PREFIX):
            return download_tokens.opened_by(self._local.download_tokens, token, now=now())
        return self._local.access.principal(token)

    def by_link(self, request: Request, path: Mapping[str, str]) -> Principal:
        """Whoever has a link to the file that the request names.

        Raises:
            LinkInvalid: the link does not hold.
        """
        told = request.query_params
        claim = links.checked(told, path["id"], path["path"], self._local.link_keys.get, now())
        confined = Confined(runs=frozenset((claim.run,)), path=claim.path)
        scopes = frozenset((download_tokens.SCOPE,))
        return Principal(f"link:{claim.run}", (claim.tenant,), scopes, confined=confined)


def is_link(request: Request) -> bool:
    """Whether a request comes by a signed link; an access token beside it is not looked at."""
    return "signature" in request.query_params


def demand_opened(principal: Principal, operation: Operation) -> None:
    """Refuse what tokens for downloads, and links, do not open.

    Raises:
        ScopeMissing: see there.
    """
    if principal.confined is not None and not (operation.downloads or operation.links):
        raise ScopeMissing(f"{principal.client} opens downloads alone")
