"""One look at a page: who looks, what the API tells them, and the page that comes of it."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from stellaops.console.inside import Asker, Inside, Refused, Reply
from stellaops.console.rendering import rendered
from stellaops.console.session import Session

EVERY, DEFAULT = "*", "default"
_MOST_TENANTS = 20_000
_ONCE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Absent:
    """In the place of what the API does not tell; false wherever a truth is asked for.

    Attributes:
        kind: `hidden` from whoever looks, `gone` or never there, or to be told `later`.
        what: the API's sentence.
    """

    kind: str
    what: str

    def __bool__(self) -> bool:
        """There is nothing to show."""
        return False


class Listed(list[Any]):
    """The items of a list that the API tells.

    Attributes:
        absent: why there are none to show, where that is not that there are none.
    """

    def __init__(self, items: Iterable[Any] = (), absent: Absent | None = None) -> None:
        super().__init__(items)
        self.absent = absent


def listed(found: Any, part: str = "items") -> Listed:
    """What stands in an answer of the API, or why nothing does."""
    if isinstance(found, Absent):
        return Listed(absent=None if found.kind == "gone" else found)
    return Listed(found[part] if isinstance(found, dict) else found or ())


_KINDS = {403: "hidden", 404: "gone", 410: "gone"}
_LATER = (429, 500, 503)


@dataclass(slots=True)
class Visit:
    """A request by someone who is logged in.

    Attributes:
        form: what was sent, empty for a look.
        goes_on: whether the session has not ended meanwhile.
        tenants: whose pages the header offers.
    """

    request: Request
    inside: Inside
    session: Session
    form: Mapping[str, str] = field(default_factory=dict)
    goes_on: Callable[[], Awaitable[bool]] | None = None
    tenants: tuple[str, ...] = ()

    async def _look_around(self) -> None:
        """Find out whose pages the header offers: for operators, those of every tenant."""
        told = self.session.claims.get("tenants")
        names = [str(each) for each in told] if isinstance(told, list) else []
        if EVERY in names:
            names = [DEFAULT, *sorted(set(await self._every_tenant()) - {DEFAULT})]
        if self.session.tenant and self.session.tenant not in names:
            names.append(self.session.tenant)
        self.tenants = tuple(names)

    async def _every_tenant(self) -> list[str]:
        names: list[str] = []
        cursor = None
        with suppress(Refused):  # the page says what is wrong; its header is short then
            while len(names) < _MOST_TENANTS:
                found = await self.get("/api/authority/tenants", limit=500, cursor=cursor)
                names += [str(each["tenant"]) for each in found["items"]]
                cursor = found["next"]
                if cursor is None:
                    break
        return names

    @property
    def tenant(self) -> str:
        """Whom the page is about: the one that was chosen, else the token's first, of an operator the default one."""
        if self.session.tenant:
            return self.session.tenant
        told = self.session.claims.get("tenants")
        first = str(told[0]) if isinstance(told, list) and told else ""
        return DEFAULT if first == EVERY else first

    @property
    def asker(self) -> Asker:
        """Who looks."""
        return Asker(self.session.token, self.tenant, self.request.scope)

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters of the page, without empty ones."""
        return {name: value.strip() for name, value in self.request.query_params.items() if value.strip()}

    def part(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def may(self, scope: str) -> bool:
        """Whether a control is worth showing; the API decides when it is used."""
        return scope in self.session.scopes

    async def ask(self, path: str, method: str = "GET", **more: Any) -> Reply:
        """What the API answers; see `Inside.ask`."""
        return await self.inside.ask(self.asker, method, path, **more)

    async def get(self, path: str, **query: Any) -> Any:
        """JSON of the API; the parameters may also stand in the path."""
        plain, _, told = path.partition("?")
        return (await self.ask(plain, query={**dict(parse_qsl(told)), **query})).json()

    async def maybe(self, path: str, **query: Any) -> Any:
        """The same; `Absent` where the caller may not see it or it is not there."""
        try:
            return await self.get(path, **query)
        except Refused as refused:
            if refused.status in _KINDS:
                return Absent(_KINDS[refused.status], refused.what)
            raise

    async def all(self, *paths: str) -> list[Any]:
        """Several of these at once; `Absent` also for what cannot be told just now."""
        return list(await asyncio.gather(*(self._told(path) for path in paths)))

    async def _told(self, path: str) -> Any:
        try:
            return await self.maybe(path)
        except Refused as refused:
            if refused.status in _LATER:
                return Absent("later", refused.what)
            raise

    async def change(self, method: str, path: str, body: object = None, **query: Any) -> Any:
        """Have the API change something, once however often the form is sent."""
        told = self.form.get("once", "")
        key = told if _ONCE.fullmatch(told) else secrets.token_hex(16)
        reply = await self.ask(path, method, query=query, body=body, headers={"idempotency-key": key})
        return reply.json()

    async def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page for whoever looks."""
        await self._look_around()
        return rendered(template, self, status, values)

    def go(self, path: str, **query: str | None) -> Response:
        """To another page, after a change."""
        told = urlencode({name: value for name, value in query.items() if value})
        return RedirectResponse(f"/console{path}{'?' + told if told else ''}", 303)
