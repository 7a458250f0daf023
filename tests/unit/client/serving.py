"""A server on this machine that answers as a test says, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

from stellaops.client.connection import Connection


@dataclass(frozen=True)
class Asked:
    """A request; names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Said:
    """An answer; `cut` ends the connection after so many bytes of the body."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    endless: bool = False


def problem(status: int, code: str, detail: str = "it is so", **more: Any) -> Said:
    """A problem document."""
    body = {"type": "about:blank", "title": "", "status": status, "detail": detail, "code": code, **more}
    return Said(status, json.dumps(body).encode(), {"content-type": "application/problem+json"})


class Server:
    """What the server does (`answer`), and what it was asked."""

    def __init__(self, answer: Callable[[Asked], Said]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.url = ""

    def paths(self) -> list[str]:
        return [each.path for each in self.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: Server

    def _do(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, self.rfile.read(length))
        self.server_of.asked.append(asked)
        said = self.server_of.answer(asked)
        self.send_response_only(said.status)
        for name, value in said.headers.items():
            self.send_header(name, value)
        if not said.endless and said.status != 204:
            self.send_header("content-length", str(len(said.body)))
        self.end_headers()
        self.wfile.write(said.body if said.cut is None else said.body[: said.cut])
        self.close_connection = said.cut is not None or said.endless

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815 - as the library wants them

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@contextmanager
def serving(answer: Callable[[Asked], Said]) -> Iterator[Server]:
    """A server on a free port of 127.0.0.1."""
    found = Server(answer)
    handler = type("Handler", (_Handler,), {"server_of": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Token:
    """`Tokens` that counts."""

    def __init__(self) -> None:
        self.number = 1

    def token(self, *, renew: bool = False) -> str:
        self.number += renew
        return f"token-{self.number}"


def connection(url: str, pauses: list[float] | None = None, tenant: str | None = None) -> Connection:
    """A connection that waits for nothing; what it would have waited stands in `pauses`."""
    waited = [] if pauses is None else pauses
    return Connection(url, urllib3.PoolManager(retries=False), Token(), tenant, waited.append)
