"""A web server on this machine that plays an upstream, with the misbehaviour that a test asks for."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_SPRING = 1_775_000_000  # 31 March 2026


@dataclass(frozen=True)
class File:
    """A file that is served; its ETag is of its content."""

    content: bytes
    modified: float = _SPRING
    etag: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"' if self.etag is None else self.etag  # noqa: S324


@dataclass(frozen=True)
class Request:
    """A request as it came; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    number: int  # how many came for this path, this one counted


@dataclass(frozen=True)
class Answer:
    """An answer instead of the file: a status with headers and body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Cut:
    """The file, with the connection cut after so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class WrongLength:
    """The file with a Content-Length that is off by some bytes."""

    by: int


@dataclass(frozen=True)
class Slow:
    """The file, in pieces with pauses."""

    pieces: int
    pause: float


Fault = Answer | Cut | WrongLength | Slow
Misbehave = Callable[[Request], Fault | None]


class Upstream:
    """The server's files and what was asked of it; both may be looked at and changed at any time."""

    def __init__(self, files: Mapping[str, File | bytes]) -> None:
        self.files: dict[str, File | bytes] = dict(files)
        self.requests: list[Request] = []
        self.misbehave: Misbehave = lambda request: None
        self.sent = 0
        self.sent_paths: list[str] = []
        self.url = ""
        self._counts: dict[str, int] = {}
        self._guard = threading.Lock()

    def asked(self, path: str | None = None) -> int:
        """How many requests came, for one path or for all."""
        return len(self.requests) if path is None else self._counts.get(path, 0)

    def forget(self) -> None:
        """Count from nought again."""
        with self._guard:
            self.requests.clear()
            self._counts.clear()
            self.sent_paths.clear()
            self.sent = 0

    def note(self, path: str, headers: Mapping[str, str]) -> Request:
        with self._guard:
            self._counts[path] = self._counts.get(path, 0) + 1
            request = Request(path, {k.lower(): v for k, v in headers.items()}, self._counts[path])
            self.requests.append(request)
            return request

    def file(self, path: str) -> File | None:
        found = self.files.get(path)
        return File(found) if isinstance(found, bytes) else found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: Upstream

    def do_GET(self) -> None:
        request = self.upstream.note(self.path, dict(self.headers.items()))
        fault = self.upstream.misbehave(request)
        file = self.upstream.file(self.path)
        try:
            if isinstance(fault, Answer):
                self._send(
                    fault.status, {"Content-Length": str(len(fault.body)), **fault.headers}, fault.body
                )
            elif file is None:
                self._send(404, {"Content-Length": "0"}, b"")
            else:
                self._serve(request, file, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _serve(self, request: Request, file: File, fault: Fault | None) -> None:
        headers = {"Last-Modified": formatdate(file.modified, usegmt=True), **file.headers}
        if file.tag:
            headers["ETag"] = file.tag
        asked = request.headers
        same = asked.get("if-none-match") == file.tag if "if-none-match" in asked else (
            asked.get("if-modified-since") == headers["Last-Modified"]
        )  # fmt: skip
        if same:
            self._send(304, headers, b"")
            return
        body, status = file.content, 200
        start = asked.get("range", "").removeprefix("bytes=").removesuffix("-")
        if start.isdecimal() and asked.get("if-range", file.tag) == file.tag:
            if int(start) >= len(body):
                self._send(416, {"Content-Length": "0"}, b"")
                return
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[int(start) :], 206
        self._misbehave(status, headers, body, fault)

    def _misbehave(self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None) -> None:
        with self.upstream._guard:
            self.upstream.sent_paths.append(self.path)
        length = len(body) + (fault.by if isinstance(fault, WrongLength) else 0)
        headers["Content-Length"] = str(length)
        if isinstance(fault, Cut):
            self._send(status, headers, body[: fault.after])
            self.close_connection = True
        elif isinstance(fault, Slow):
            self._send(status, headers, b"")
            step = max(1, len(body) // fault.pieces)
            for at in range(0, len(body), step):
                time.sleep(fault.pause)
                self._write(body[at : at + step])
        else:
            self._send(status, headers, body[: max(length, 0)])
            self.close_connection = isinstance(fault, WrongLength)

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._write(body)

    def _write(self, body: bytes) -> None:
        self.wfile.write(body)
        with self.upstream._guard:
            self.upstream.sent += len(body)

    def log_message(self, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of these tests are killed and cut off: no news."""


@contextmanager
def serving(files: Mapping[str, File | bytes] | None = None) -> Iterator[Upstream]:
    """A server on a free port of 127.0.0.1; its `url` ends with a slash."""
    upstream = Upstream(files or {})
    handler = type("Handler", (_Handler,), {"upstream": upstream})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    upstream.url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
