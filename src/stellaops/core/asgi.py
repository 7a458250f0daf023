"""An ASGI application asked in its own process, without a network between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def ask(application: Application, scope: MutableMapping[str, Any], content: bytes = b"") -> Answer:
    """One request with its whole body, and the whole answer; status 500 where none came."""
    ends = _Ends(content)
    await application(scope, ends.receive, ends.send)
    return Answer(ends.status, ends.headers, b"".join(ends.parts))


class _Ends:
    """The two ends of a request whose answer is taken whole."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content
        self.parts: list[bytes] = []
        self.status, self.headers = 500, dict[str, str]()

    async def receive(self) -> Message:
        """The body, then silence: nobody hangs up."""
        if self._content is None:
            await asyncio.Event().wait()
        content, self._content = self._content, None
        return {"type": "http.request", "body": content or b"", "more_body": False}

    async def send(self, message: Message) -> None:
        """Keep what is answered."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]
            }
        elif message["type"] == "http.response.body":
            self.parts.append(message.get("body", b""))
