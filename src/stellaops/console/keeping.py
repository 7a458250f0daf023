"""Sessions between requests: found by the browser's handle, renewed while somebody uses them, ended for good."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from stellaops.authority.keep_sessions import Opened, SessionKeeper
from stellaops.authority.sessions import SessionContent
from stellaops.console.session import Session, claims_of, handle_of, keep, session_of
from stellaops.core.errors import StellaError

_LOOKS, _PAUSE = 50, 0.2  # ten seconds for the process that renews a session
_ANSWER = (
    20.0  # seconds for a provider: less than `RENEWING`, so that a refresh token is never sent twice at once
)


class LoginOver(Exception):
    """The provider no longer says that somebody is logged in, or may come in."""


class ProviderAway(Exception):
    """The provider does not answer, so that nobody knows."""


@dataclass(frozen=True, slots=True)
class Again:
    """What a provider says of somebody when it is asked again.

    Attributes:
        client: as whom the visitor acts from here on; None for the same.
        refresh: the next refresh token; None for the same.
    """

    client: str | None
    refresh: str | None


class Renewing(Protocol):
    """Asks again who somebody is that it has let in."""

    async def again(self, content: SessionContent) -> Again:
        """What its provider says of a session at this moment.

        Raises:
            LoginOver, ProviderAway: see there.
        """
        ...


class Keeping:
    """The sessions of the console.

    Args:
        keeper: keeps them, for all processes.
        providers: those that are asked when a session is renewed, by name.
    """

    def __init__(self, keeper: SessionKeeper, providers: Mapping[str, Renewing]) -> None:
        self._keeper, self._providers = keeper, providers

    async def session(self, request: Request, *, used: bool = True) -> Session | None:
        """The session of a request, with a token that holds; None where there is none.

        Args:
            used: whether somebody does something: what a page asks by itself keeps no session alive.

        Raises:
            ProviderAway: see there.
        """
        handle = handle_of(request)
        if handle is None:
            return None
        found = await to_thread.run_sync(partial(self._keeper.find, handle, used=used))
        if found is not None and self._keeper.wants_renewal(found):
            found = await self._renewed(found)
        return None if found is None else session_of(found)

    async def seen(self, request: Request) -> Session | None:
        """The session of a request as it is, whether or not its token still holds."""
        handle = handle_of(request)
        if handle is None:
            return None
        found = await to_thread.run_sync(partial(self._keeper.find, handle))
        return None if found is None else session_of(found)

    async def goes_on(self, session: Session) -> bool:
        """Whether a session has not ended meanwhile."""
        return await to_thread.run_sync(partial(self._keeper.find, session.handle, used=False)) is not None

    async def begun(self, request: Request, content: SessionContent, client: str, there: str) -> Response:
        """The browser with a session for a login that was just proved, on the page that was wanted.

        The session that it had before is over.
        """
        await self.end(request)
        made = await to_thread.run_sync(self._keeper.begin, client, content)
        response = RedirectResponse(f"/console{there}", 303, {"cache-control": "no-store"})
        seconds = int(self._keeper.limits.longest.total_seconds())
        keep(response, made.handle, secure=request.url.scheme == "https", seconds=seconds)
        return response

    async def choose_tenant(self, session: Session, tenant: str) -> None:
        """Let the pages of a session be about another tenant."""
        await to_thread.run_sync(self._keeper.choose_tenant, session.handle, tenant)

    async def end(self, request: Request) -> None:
        """End the session of a request, in every process."""
        handle = handle_of(request)
        if handle is not None:
            await to_thread.run_sync(self._keeper.end, handle)

    async def _renewed(self, found: Opened) -> Opened | None:
        if not found.content.renewable:
            return found if self._keeper.holds(found) else None
        try:
            if await to_thread.run_sync(self._keeper.claim, found):
                return await self._renew(found)
        except StellaError:  # a store that takes nothing: the token is good for a while
            if not self._keeper.holds(found):
                raise
        return found if self._keeper.holds(found) else await self._waited(found)

    async def _renew(self, found: Opened) -> Opened | None:
        told = Again(None, None)
        if found.content.provider:
            try:
                told = await self._again(found.content)
            except LoginOver:
                await to_thread.run_sync(self._keeper.end, found.handle)
                return None
            except ProviderAway:
                if self._keeper.holds(found):
                    return found
                raise
        renew = partial(self._keeper.renew, found, client=told.client, refresh=told.refresh)
        return await to_thread.run_sync(renew)

    async def _again(self, content: SessionContent) -> Again:
        provider = self._providers.get(content.provider)
        if provider is None:
            raise LoginOver
        try:
            async with asyncio.timeout(_ANSWER):
                return await provider.again(content)
        except TimeoutError as error:
            raise ProviderAway from error

    async def _waited(self, found: Opened) -> Opened | None:
        """The session after another process has renewed it."""
        for _ in range(_LOOKS):
            await asyncio.sleep(_PAUSE)
            current = await to_thread.run_sync(partial(self._keeper.find, found.handle, used=False))
            if current is None or not self._keeper.wants_renewal(current):
                return current
            if await to_thread.run_sync(
                self._keeper.claim, current
            ):  # nobody renews it any more, or ever did
                return await self._renew(current)
        raise ProviderAway


def content_of(token: str, who: str, **more: str) -> SessionContent:
    """What belongs to a session that begins with a token of our own authority.

    Args:
        more: further attributes of `SessionContent`.
    """
    claims = claims_of(token)
    return SessionContent(token, int(claims.get("iat", 0)), int(claims.get("exp", 0)), who, **more)
