"""The console as an ASGI application before the API: `/console` is answered here, everything else there."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib.resources import files
from pathlib import PurePosixPath
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from stellaops.authority.keep_sessions import SessionKeeper
from stellaops.console.forms import FormRefused, fields, fields_of
from stellaops.console.inside import Inside, Refused
from stellaops.console.keeping import Keeping, ProviderAway
from stellaops.console.pages import PAGES
from stellaops.console.pages.login import Doors
from stellaops.console.pages.page import Page
from stellaops.console.rendering import HEADERS, plain
from stellaops.console.session import Session, forget
from stellaops.console.visit import Visit

_LOG = logging.getLogger("stellaops.console")
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOR_EVER = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}


class Console:
    """Pages at `/console`, before an application that has the API.

    Args:
        api: answers every other path, and whatever the pages ask.
        doors: how people log in.
        sessions: of those who are logged in.
    """

    def __init__(self, api: ASGIApp, doors: Doors, sessions: SessionKeeper) -> None:
        self._api, self._inside = api, Inside(api)
        self._keeping = Keeping(sessions, {each.path: each for each in doors.others})
        routes = [
            Route("/console/assets/{name}", _asset),
            *doors.routes(self._inside, self._keeping),
            *(Route(f"/console{page.path}", self._answering(page), methods=page.methods) for page in PAGES),
        ]
        self._router = Router(routes, redirect_slashes=False, default=_nowhere)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == "/console" or path.startswith("/console/")):
            await self._api(scope, receive, send)
        elif path == "/console":
            await RedirectResponse("/console/", 308)(scope, receive, send)
        else:
            try:
                await self._router({**scope, "app": self}, receive, send)
            except HTTPException as error:
                problem = _problem("ERR_METHOD_NOT_ALLOWED", "This page cannot be asked for in that way.", "")
                response = plain("problem.html", error.status_code, problem)
                response.headers.update(error.headers or {})
                await response(scope, receive, send)

    def _answering(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def answering(request: Request) -> Response:
            try:
                found = await self._answer(page, request)
            except ProviderAway:
                return await _unknown(request)
            except Exception:  # noqa: BLE001 - whatever it is, who looks gets a page
                _LOG.exception("a page cannot be made", extra={"event": "console.broken", "path": page.path})
                problem = _problem("ERR_INTERNAL", "This page cannot be made.", "Tell the operator.")
                return plain("problem.html", 500, problem)
            for name, value in HEADERS.items():
                found.headers.setdefault(name, value)
            return found

        return answering

    async def _answer(self, page: Page, request: Request) -> Response:
        session = await self._keeping.session(request, used=not page.by_itself)
        if session is None:
            return await _too_late(request)
        try:
            sent = await fields_of(request, session) if request.method == "POST" else {}
            goes_on = partial(self._keeping.goes_on, session)
            return await page.handler(Visit(request, self._inside, session, sent, goes_on))
        except FormRefused as refused:
            return _form_refused(refused)
        except Refused as refused:
            if refused.status != 401:
                return await _refusal(request, session, self._inside, refused)
            await self._keeping.end(request)
            response = await _too_late(request)
            forget(response, secure=request.url.scheme == "https")
            return response


async def _too_late(request: Request) -> Response:
    """To the login; with what was written, where a form was sent: nothing that people wrote is lost."""
    if request.method != "POST":
        return _to_login(request)
    try:
        written = await fields(request)
    except FormRefused as refused:
        return _form_refused(refused)
    return plain(
        "late.html", 401, {"kept": _kept(written), "why": "the session ended before the form was sent"}
    )


async def _unknown(request: Request) -> Response:
    """Nobody can tell just now whether the session goes on; what was written comes back."""
    what = "The identity provider does not answer, so that nobody knows who looks."
    if request.method == "POST":
        try:
            return plain("late.html", 503, {"kept": _kept(await fields(request)), "why": what})
        except FormRefused as refused:
            return _form_refused(refused)
    return plain("problem.html", 503, _problem("ERR_CONSOLE_PROVIDER", what, "Try again in a moment."))


def _form_refused(refused: FormRefused) -> Response:
    if _kept(refused.written):
        return plain("late.html", 403, {"kept": _kept(refused.written), "why": refused.why})
    return plain("problem.html", 403, _problem("ERR_CONSOLE_FORM", refused.why, "Load the page anew."))


def _kept(written: Mapping[str, str]) -> dict[str, str]:
    """What people wrote themselves."""
    ours = ("check", "once", "name", "revision", "side", "source", "secret")
    return {name: text for name, text in written.items() if text.strip() and name not in ours}


def _to_login(request: Request) -> Response:
    if request.headers.get("accept", "").startswith("text/event-stream"):
        return Response(None, 204)  # an event source that is told so does not come again
    here = request.url.path.removeprefix("/console")
    there = here + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/console/login?next={quote(there if request.method == 'GET' else here)}", 303)


async def _refusal(request: Request, session: Session, inside: Inside, refused: Refused) -> Response:
    visit = Visit(request, inside, session)
    problem = _problem(refused.code, refused.what, refused.hint, refused.details)
    return await visit.page("problem.html", refused.status, **problem)


def _problem(code: str, what: str, hint: str, details: tuple[str, ...] = ()) -> dict[str, object]:
    return {"code": code, "what": what, "hint": hint, "details": details}


async def _asset(request: Request) -> Response:
    name = PurePosixPath(request.path_params["name"])
    found = files("stellaops.console") / "assets" / name.name
    kind = _KINDS.get(name.suffix)
    if kind is None or not found.is_file():
        return Response("not found", 404)
    return Response(found.read_bytes(), 200, _FOR_EVER, kind)


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    problem = _problem("ERR_ROUTE_NOT_FOUND", "There is no such page.", "Begin at the overview.")
    await plain("problem.html", 404, problem)(scope, receive, send)
