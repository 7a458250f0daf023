"""HTTP/1.1 connections of the gateway: uvicorn's, with a short way, and with limits.

Nobody may send too much, or too slowly. A proxy in front has most of these limits too; here they hold for whoever
reaches the gateway itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from stellaops.gateway import requests
from stellaops.gateway.requests import AUTHORIZE, TRANSPORT
from stellaops.gateway.shortcut import is_plain

if TYPE_CHECKING:
    from stellaops.gateway.app import Gateway

MOST_HEADERS = 100
LARGEST_HEAD = 32 << 10
"""Bytes of a request line and its header fields together."""
LARGEST_PATH = 8 << 10
HEAD_SECONDS = 15.0
"""Seconds from the first byte of a request to the end of its head, and from a connection to its first request."""
IDLE_SECONDS = 60.0
"""Seconds between two requests."""
MOST_BODY = 64 << 10
"""Bytes of a body that are read away before the connection is closed; none is ever used."""
MOST_CONNECTIONS = 2000
"""Of one process."""


class GatewayProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._gateway = cast("Gateway", self.config.app)
        self._head = 0
        self._body = 0
        self._in_head = True
        self._is_answered = False
        self._by_proxy: bool | None = None
        # Since when the other side owes something.
        self._since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self.transport.is_closing():
            return
        if not self._in_head and not self._head:
            self._since = self.loop.time()
        self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > LARGEST_HEAD:
            self._refuse("431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self._in_head, self._is_answered, self._body = True, False, 0

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        super().on_url(url)
        if len(self.url) > LARGEST_PATH:
            self._refuse("414 URI Too Long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        super().on_header(name, value)
        if len(self.headers) > MOST_HEADERS:
            self._refuse("431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._in_head, self._head = False, 0
        if self.transport.is_closing() or self._answers_at_once():
            return
        self.scope["extensions"] = {TRANSPORT: {"is_closing": self.transport.is_closing}}
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """See httptools. Bodies are refused; this only bounds what is read away."""
        self._body += len(body)
        if self._body > MOST_BODY:
            self.transport.abort()

    def on_message_complete(self) -> None:
        """See httptools."""
        if not self._is_answered and not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """See uvicorn."""
        self._since = self.loop.time()
        super().on_response_complete()

    def sweep(self, now: float) -> None:
        """Let go of a client that owes something for too long; to be called now and then."""
        if self.transport.is_closing() or self._is_busy():
            return
        waited = now - self._since
        if self._in_head and waited > HEAD_SECONDS:
            self._refuse("408 Request Timeout")
        elif waited > IDLE_SECONDS:
            # Who does not take the last bytes either is not waited for.
            (self.transport.abort if self.transport.get_write_buffer_size() else self.transport.close)()

    def timeout_keep_alive_handler(self) -> None:
        """See uvicorn; `sweep` sees to it."""

    def _is_busy(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _answers_at_once(self) -> bool:
        """Answer a request that is plain, and whose answer is known."""
        parser = self.parser
        if self._is_busy() or self.transport.get_write_buffer_size() or parser.get_http_version() != "1.1":
            return False
        request = requests.made(
            parser.get_method().decode("ascii"), self.url, self.headers,
            (self.client[0] if self.client else "", self.scheme or "http"), self._gateway.trusted_proxies,
        )  # fmt: skip
        if not request.host or not is_plain(request, self.headers):
            return False
        told = b"".join(b"%s: %s\r\n" % line for line in self.server_state.default_headers)
        keeps = parser.should_keep_alive()
        told = told if keeps else told + b"connection: close\r\n"
        shortcut = self._gateway.shortcut
        if self.url == AUTHORIZE:
            data = shortcut.authorize(request, told) if self._is_proxy() else None
        else:
            data = shortcut.answer(request, told)
        if data is None:
            return False
        self._is_answered = True
        self._since = self.loop.time()
        self.server_state.total_requests += 1
        self.transport.write(data)
        if not keeps:
            self.transport.close()
        return True

    def _is_proxy(self) -> bool:
        """Whether a proxy of ours is on the other side; found out once for a connection."""
        if self._by_proxy is None:
            address = self.client[0] if self.client else ""
            self._by_proxy = requests.is_within(address, self._gateway.trusted_proxies)
        return self._by_proxy

    def _refuse(self, status: str) -> None:
        """Answer without the application, and close."""
        if self.transport.is_closing():
            return
        if self._is_busy():
            self.transport.abort()
            return
        text = (
            f"HTTP/1.1 {status}\r\ncontent-length: 0\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(text.encode())
        self.transport.close()
