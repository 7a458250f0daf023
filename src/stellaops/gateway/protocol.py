"""HTTP/1.1 connections of the gateway: uvicorn's, with limits against those who send too much or too slowly.

A proxy in front has most of these limits too. Here they hold for whoever reaches the gateway itself.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from stellaops.gateway.requests import TRANSPORT

MOST_HEADERS = 100
LARGEST_HEAD = 32 << 10
"""Bytes of a request line and its header fields together."""
LARGEST_PATH = 8 << 10
HEAD_SECONDS = 15.0
"""Seconds from the first byte of a request to the end of its head."""
MOST_BODY = 64 << 10
"""Bytes of a body that are read away before the connection is closed; none is ever used."""
MOST_CONNECTIONS = 2000
"""Of one process."""


class GatewayProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._head = 0
        self._body = 0
        self._in_head = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio. A connection that sends nothing is closed like one with half a head."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self.transport.is_closing():
            return
        self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > LARGEST_HEAD and not self.transport.is_closing():
            self._refuse("431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"is_closing": self.transport.is_closing}}
        self._in_head, self._body = True, 0
        if self._timer is None:
            self._await_head()

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
        self._head_is_there()
        if not self.transport.is_closing():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """See httptools. Bodies are refused; this only bounds what is read away."""
        self._body += len(body)
        if self._body > MOST_BODY:
            self.transport.abort()

    def on_message_complete(self) -> None:
        """See httptools."""
        if not self.transport.is_closing():
            super().on_message_complete()

    def timeout_keep_alive_handler(self) -> None:
        """See uvicorn. A client that does not take the last bytes either is not waited for."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._is_late)

    def _head_is_there(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_late(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self._refuse("408 Request Timeout")

    def _refuse(self, status: str) -> None:
        """Answer without the application, and close."""
        if self.transport.is_closing():
            return
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete:
            text = f"HTTP/1.1 {status}\r\ncontent-length: 0\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
            self.transport.write(text.encode())
            self.transport.close()
        else:
            self.transport.abort()
