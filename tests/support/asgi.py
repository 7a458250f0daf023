"""An ASGI application asked in this process, without a server between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message


@dataclass(frozen=True, slots=True)
class Reply:
    """What an application answered; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Asgi:
    """A caller of an application, from an address and perhaps with a token."""

    app: ASGIApp
    token: str | None = None
    address: str = "192.0.2.7"

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request; a body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        told = {name.lower(): value for name, value in (headers or {}).items()}
        if body is not None and not isinstance(body, bytes):
            told.setdefault("content-type", "application/json")
        if self.token is not None:
            told.setdefault("authorization", f"Bearer {self.token}")
        return asyncio.run(self._ask(method, path, data, told))

    async def _ask(self, method: str, path: str, data: bytes, headers: Mapping[str, str]) -> Reply:
        route, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": route, "raw_path": quote(route).encode(), "root_path": "", "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("utf-8")) for name, value in headers.items()],
            "client": (self.address, 4711), "server": ("127.0.0.1", 8080),
        }  # fmt: skip
        sent: list[Message] = []
        coming: list[Message] = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> Message:
            return coming.pop(0) if coming else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        starts = [each for each in sent if each["type"] == "http.response.start"]
        found = {name.decode().lower(): value.decode() for name, value in starts[0]["headers"]}
        parts = [each.get("body", b"") for each in sent if each["type"] == "http.response.body"]
        return Reply(starts[0]["status"], found, b"".join(parts))
