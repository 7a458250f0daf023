"""Log in by an identity provider (OpenID Connect, authorization code with PKCE).

The provider says who someone is, and which groups they are in; the settings say which client of Authority a group
stands for. The session is that client's, with its scopes and tenants, and ends with its revocation. Where the provider
gives a refresh token, it is asked again each time that the session is renewed: who is known there no longer, or is in
no group that may come in, is outside then.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from anyio import to_thread
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stellaops.authority.sessions import SessionContent
from stellaops.console.keeping import Again, Keeping, LoginOver, ProviderAway, content_of
from stellaops.console.pages.login import destination
from stellaops.console.rendering import plain
from stellaops.core.errors import StellaError

_LOG = logging.getLogger("stellaops.console")
_COOKIE = "stella-console-login"
_SECONDS = 600
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider as the settings describe it.

    Attributes:
        issuer: its URL; `/.well-known/openid-configuration` below it describes the rest.
        secret: reads the client's secret, at each login anew.
        claim: the claim that names the groups of a person.
        roles: client of Authority by group; the first group that a person is in decides.
        authorities: PEM certificates to trust beside the system's.
    """

    name: str
    issuer: str
    client_id: str
    secret: Callable[[], str] = field(repr=False)
    claim: str
    roles: tuple[tuple[str, str], ...]
    scopes: str = "openid profile email groups"
    authorities: Path | None = None


@dataclass
class OidcDoor:
    """A `pages.login.Door`.

    Attributes:
        vouch: gives an access token of a client that someone may act as.
    """

    provider: Provider
    vouch: Callable[[str, str], str]
    path: str = "oidc"

    @property
    def name(self) -> str:
        """What the button says."""
        return self.provider.name

    def routes(self, keeping: Keeping) -> Sequence[Route]:
        """The way there and back."""
        return [
            Route("/console/login/oidc", self._leave, methods=["GET"]),
            Route("/console/login/oidc/callback", partial(self._return, keeping), methods=["GET"]),
        ]

    async def again(self, content: SessionContent) -> Again:
        """Ask the provider for somebody whom it gave a refresh token."""
        try:
            # Without a scope the provider goes by what it granted; it may not have granted all that was asked.
            token = await self._client.fetch_access_token(
                grant_type="refresh_token", refresh_token=content.refresh, scope=""
            )
            told = await self._told(token)
        except (OAuthError, JoseError) as error:
            self._note_over(content, type(error).__name__)
            raise LoginOver from None
        except (httpx2.HTTPError, KeyError, ValueError, StellaError) as error:
            raise ProviderAway from error
        client_id = None if told is None else self._client_of(told)
        if told is not None and (client_id is None or told.get("sub") != content.subject):
            self._note_over(content, "NoGroup" if client_id is None else "OtherSubject")
            raise LoginOver
        return Again(client_id, token.get("refresh_token"))

    async def _told(self, token: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What a renewed token says of its owner, else the provider's userinfo; None where neither is there."""
        told: Mapping[str, Any] | None = await self._client.parse_id_token(token, nonce=None)
        if told is not None and self.provider.claim in told:
            return told
        metadata = await self._client.load_server_metadata()
        if metadata.get("userinfo_endpoint"):
            told = await self._client.userinfo(token=token)
        return told

    def _note_over(self, content: SessionContent, why: str) -> None:
        _LOG.info(
            "the provider lets %s in no longer: %s", content.who, why,
            extra={"event": "console.session_refused", "user": content.who},
        )  # fmt: skip

    @cached_property
    def _client(self) -> Any:
        told = self.provider
        verify: Any = True if told.authorities is None else _trusting(told.authorities)
        return OAuth().register(
            "provider",
            client_id=told.client_id,
            client_secret=told.secret(),
            server_metadata_url=f"{told.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": told.scopes,
                "code_challenge_method": "S256",
                "timeout": _PATIENCE,
                "verify": verify,
            },
        )

    async def _leave(self, request: Request) -> Response:
        there = destination(request.query_params.get("next", ""))
        kept: dict[str, Any] = {"next": there}
        request.scope["session"] = kept
        back = str(request.url.replace(path="/console/login/oidc/callback", query=""))
        try:
            response: Response = await self._client.authorize_redirect(request, back)
        except (httpx2.HTTPError, OAuthError, KeyError, ValueError, StellaError) as error:
            return self._refused(f"{self.name} does not answer as it should ({type(error).__name__}).", 503)
        sealed = self._sealed(kept)
        secure = request.url.scheme == "https"
        response.set_cookie(
            _COOKIE, sealed, _SECONDS, path="/console/login", secure=secure, httponly=True, samesite="lax"
        )
        return response

    async def _return(self, keeping: Keeping, request: Request) -> Response:
        kept = self._opened(request.cookies.get(_COOKIE, ""))
        if kept is None:
            return self._refused("The login took too long, or was begun in another browser.", 400)
        request.scope["session"] = kept
        try:
            given: Mapping[str, Any] = await self._client.authorize_access_token(request)
        except (httpx2.HTTPError, OAuthError, JoseError, KeyError, ValueError) as error:
            _LOG.warning(
                "a login by the identity provider did not hold: %s", type(error).__name__,
                extra={"event": "console.login_refused", "remote": _remote(request)},
            )  # fmt: skip
            return self._refused(f"What {self.name} says does not hold.", 401)
        told: Mapping[str, Any] = given.get("userinfo") or {}
        client = self._client_of(told)
        if client is None:
            return self._refused("You are known there, and no group of yours may come in here.", 403)
        who = str(told.get("email") or told.get("preferred_username") or told.get("name") or told.get("sub"))
        try:
            token = await to_thread.run_sync(self.vouch, client, who)
        except StellaError as error:
            return self._refused(error.what, 403)
        more = {
            "provider": self.path,
            "subject": str(told.get("sub")),
            "refresh": str(given.get("refresh_token") or ""),
        }
        content = content_of(token, who[:100], **more)
        response = await keeping.begun(request, content, client, str(kept.get("next") or "/"))
        response.delete_cookie(_COOKIE, path="/console/login")
        return response

    def _client_of(self, told: Mapping[str, Any]) -> str | None:
        found = told.get(self.provider.claim)
        groups = {found} if isinstance(found, str) else {str(each) for each in found or ()}
        return next((client for group, client in self.provider.roles if group in groups), None)

    def _refused(self, why: str, status: int) -> Response:
        link = (self.name, "/console/login/oidc")
        return plain("login.html", status, {"next": "/", "client": "", "why": why, "doors": [link]})

    # ---- what the browser keeps between leaving and coming back, under a key that all processes know

    def _sealed(self, kept: Mapping[str, Any]) -> str:
        body = base64.urlsafe_b64encode(msgspec.json.encode({"until": time.time() + _SECONDS, **kept}))
        return f"{body.decode()}.{self._mac(body)}"

    def _opened(self, told: str) -> dict[str, Any] | None:
        body, _, mac = told.partition(".")
        if not hmac.compare_digest(self._mac(body.encode()).encode(), mac.encode()):
            return None
        try:
            found = msgspec.json.decode(base64.urlsafe_b64decode(body))
        except (binascii.Error, ValueError, msgspec.MsgspecError):
            return None
        return found if isinstance(found, dict) and found.pop("until", 0) > time.time() else None

    def _mac(self, body: bytes) -> str:
        key = hashlib.sha256(b"stellaops console login\0" + self.provider.secret().encode()).digest()
        return hmac.new(key, body, hashlib.sha256).hexdigest()


def _remote(request: Request) -> str:
    return request.client.host if request.client else ""


def _trusting(authorities: Path) -> Any:
    context = httpx2.create_ssl_context()
    context.load_verify_locations(authorities)
    return context
