"""Log in with a client's credentials, out again, and choose the tenant."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from stellaops.console.forms import FormRefused, fields, fields_of
from stellaops.console.inside import Asker, Inside, Refused
from stellaops.console.keeping import Keeping, Renewing, content_of
from stellaops.console.rendering import plain
from stellaops.console.session import forget, is_tenant

_LOG = logging.getLogger("stellaops.console")
_FORM = "application/x-www-form-urlencoded"
_NEXT = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")


class Door(Renewing, Protocol):
    """Another way to log in, such as an identity provider."""

    @property
    def name(self) -> str:
        """What its button says."""
        ...

    @property
    def path(self) -> str:
        """Where that leads, below `/console/login/`."""
        ...

    def routes(self, keeping: Keeping) -> Sequence[Route]:
        """Its own paths."""
        ...


@dataclass(frozen=True, slots=True)
class Doors:
    """How people log in.

    Attributes:
        others: beside a client's credentials.
    """

    others: tuple[Door, ...] = ()

    def routes(self, inside: Inside, keeping: Keeping) -> list[Route]:
        """Their paths."""
        own = [
            Route("/console/login", partial(_show, self), methods=["GET"]),
            Route("/console/login", partial(_log_in, self, inside, keeping), methods=["POST"]),
            Route("/console/logout", partial(_log_out, keeping), methods=["POST"]),
            Route("/console/tenant", partial(_choose_tenant, keeping), methods=["POST"]),
        ]
        return [*own, *(route for door in self.others for route in door.routes(keeping))]


async def _show(doors: Doors, request: Request) -> Response:
    return _login_page(doors, destination(request.query_params.get("next", "")))


async def _log_in(doors: Doors, inside: Inside, keeping: Keeping, request: Request) -> Response:
    there, client = "/", ""
    try:
        form = await fields(request, largest=4096)
        client, there = form.get("client", "").strip(), destination(form.get("next", ""))
        wanted = form.get("tenant", "").strip()
        token = await token_of(inside, request, client, form.get("secret", "").strip(), wanted)
    except FormRefused as refused:
        return _login_page(doors, there, client, refused.why, 403)
    except Refused as refused:
        wrong = refused.status in (400, 401)
        why = "This client is not known, or its secret does not hold." if wrong else refused.what
        return _login_page(doors, there, client, why, refused.status)
    return await keeping.begun(request, content_of(token, client, granted=wanted), client, there)


async def token_of(inside: Inside, request: Request, client: str, secret: str, tenant: str = "") -> str:
    """An access token for a client's credentials.

    Args:
        tenant: for this one only; for all of the client's when empty.

    Raises:
        Refused: they do not hold.
    """
    told = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}
    told |= {"tenant": tenant} if tenant else {}
    asker, body = Asker("", "", request.scope), urlencode(told).encode("ascii")
    reply = await inside.ask(asker, "POST", "/authority/token", body=body, headers={"content-type": _FORM})
    return str(reply.json()["access_token"])


def destination(told: str) -> str:
    """A page of the console to go to after the login; the overview where anything else is named."""
    good = _NEXT.fullmatch(told) and not told.startswith("//") and ".." not in told
    return told if good else "/"


async def _log_out(keeping: Keeping, request: Request) -> Response:
    """End the session for good; a form that was not made for it ends nothing."""
    try:
        session = await keeping.seen(request)
        if session is not None:
            await fields_of(request, session)
            _LOG.info("%s logged out", session.who, extra={"event": "console.logout", "user": session.who})
    except FormRefused:
        return RedirectResponse("/console/", 303, {"cache-control": "no-store"})
    await keeping.end(request)
    response = RedirectResponse("/console/login", 303, {"cache-control": "no-store"})
    forget(response, secure=request.url.scheme == "https")
    return response


async def _choose_tenant(keeping: Keeping, request: Request) -> Response:
    overview = RedirectResponse("/console/", 303, {"cache-control": "no-store"})
    session = await keeping.seen(request)
    if session is None:
        return RedirectResponse("/console/login", 303, {"cache-control": "no-store"})
    try:
        form = await fields_of(request, session)
    except FormRefused:
        return overview
    wanted = form.get("tenant", "").strip()
    if is_tenant(wanted):
        await keeping.choose_tenant(session, wanted)
    return overview


def _login_page(doors: Doors, there: str, client: str = "", why: str = "", status: int = 200) -> Response:
    links = [(door.name, f"/console/login/{door.path}?{urlencode({'next': there})}") for door in doors.others]
    return plain("login.html", status, {"next": there, "client": client, "why": why, "doors": links})
