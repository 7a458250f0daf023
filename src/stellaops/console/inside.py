"""The API, asked in this process on behalf of whoever looks at a page.

A page sees and changes nothing but through here, so that scopes, tenants, limits and the audit log are those of the
API, whatever a page does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from stellaops.core import asgi

Wire = Any


class Refused(Exception):
    """What the API answers where it does not do what was asked.

    Attributes:
        status: of the answer.
        code, what, hint, details: of the problem document, by RFC 9457.
        problem: the whole of it.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status, self.problem = status, dict(problem)
        self.what = str(problem.get("detail") or problem.get("title") or f"status {status}")
        self.code = str(problem.get("code") or problem.get("error") or "")
        self.hint = str(problem.get("hint") or "")
        self.details = tuple(str(each) for each in problem.get("details") or ())
        super().__init__(self.what)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the API that is no error."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Wire:
        """The body, which is JSON."""
        return msgspec.json.decode(self.body) if self.body else None


@dataclass(frozen=True, slots=True)
class Asker:
    """Who looks, as the API has to know it.

    Attributes:
        token: an access token; empty for nobody in particular.
        tenant: whom the token is used for; empty for the token's first.
        address: where the request came from.
        scope: of the request that is answered by a page.
    """

    token: str
    tenant: str
    scope: Scope

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What identifies it."""
        found = [(b"host", b"console"), (b"user-agent", b"stellaops-console")]
        if self.token:
            found.append((b"authorization", f"Bearer {self.token}".encode("latin-1")))
        if self.tenant:
            found.append((b"x-stella-tenant", self.tenant.encode("latin-1", "replace")))
        return found


class Inside:
    """Asks an ASGI application without a network."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def ask(
        self,
        asker: Asker,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request with a whole answer.

        Args:
            query: parameters; those that are None are left out.
            body: bytes as they are, whatever else as JSON.

        Raises:
            Refused: the API says no.
        """
        content = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        told = dict(headers or {})
        if content:
            told.setdefault("content-type", "application/json")
            told["content-length"] = str(len(content))
        scope = self._scope(asker, method, path, query, told)
        found = await asgi.ask(self._application, scope, content)
        if found.status >= 400:
            raise Refused(found.status, _problem(found.body))
        return Reply(found.status, found.headers, found.body)

    async def pass_on(
        self, asker: Asker, path: str, send: Send, receive: Receive, *, query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Answer a GET with what the API answers, as it comes: files, streams of events."""
        scope = self._scope(asker, "GET", path, query, dict(headers or {}))
        await self._application(scope, receive, send)

    def _scope(
        self, asker: Asker, method: str, path: str, query: Mapping[str, Any] | None, told: Mapping[str, str]
    ) -> Scope:
        wanted = {name: value for name, value in (query or {}).items() if value is not None and value != ""}
        more = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
        return {
            **asker.scope,
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": quote(path).encode("ascii"),
            "root_path": "",
            "query_string": urlencode(wanted, doseq=True).encode("ascii"),
            "headers": [*asker.headers(), *more],
            "state": {},
            "path_params": {},
        }


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return {}
    return found if isinstance(found, dict) else {}
