"""A proxy before a real server that does what networks and servers do on bad days.

It speaks HTTP/1.1 on a free port of 127.0.0.1 and passes every request on as it came, Host and all, so that signed
requests stay valid and addresses in answers lead back to it. A test says by `misbehave` what meets which fault:

    with faulty_server.before("http://127.0.0.1:8333") as faulty:
        faulty.misbehave = first(1, Answer(429, {"Retry-After": "2"}), lambda seen: seen.method == "PUT")
"""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import urlsplit

_PIECE = 64 << 10
_PATIENCE = 120.0
_LONGEST_HEAD = 64 << 10


@dataclass(frozen=True)
class Seen:
    """A request: header names in lower case; `number` counts those of this method and path from 1 on."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    number: int

    @property
    def length(self) -> int:
        """Bytes of the body; 0 where that is not told."""
        return int(self.headers.get("content-length", "0"))


@dataclass(frozen=True)
class Answer:
    """This answer instead of the server's, which hears nothing; the request's body is taken and thrown away."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class CutRequest:
    """The server gets so many bytes of the body; then both connections break."""

    after: int = 0


@dataclass(frozen=True)
class Lost:
    """The server does what it was asked to, but its answer never arrives."""


@dataclass(frozen=True)
class CutAnswer:
    """The caller gets so many bytes of the answer's body; then the connection breaks."""

    after: int = 0


@dataclass(frozen=True)
class FlipRequest:
    """One bit of the request's body is another one when it arrives."""

    at: int = 0


@dataclass(frozen=True)
class FlipAnswer:
    """One bit of the answer's body is another one when it arrives."""

    at: int = 0


@dataclass(frozen=True)
class Slow:
    """The answer's body comes in pieces of `piece` bytes with pauses between (a slow loris); the head comes at once."""

    piece: int = 1
    pause: float = 1.0


@dataclass(frozen=True)
class Silent:
    """The request is taken, and nothing ever comes back."""

    seconds: float = 3600.0


@dataclass(frozen=True)
class Headers:
    """The server's answer with other header fields, such as its clock's `Date` or a digest that is wrong."""

    fields: dict[str, str]


Fault = (
    Answer | CutRequest | Lost | CutAnswer | FlipRequest | FlipAnswer | Slow | Silent | Headers
)  # fmt: skip
Misbehave = Callable[[Seen], Fault | None]
Meant = Callable[[Seen], bool]


def always(fault: Fault, meant: Meant = lambda seen: True) -> Misbehave:
    """The fault for every request that is meant."""
    return lambda seen: fault if meant(seen) else None


def first(times: int, fault: Fault, meant: Meant = lambda seen: True) -> Misbehave:
    """The fault for the first so many requests that are meant; then all is well."""
    count, guard = itertools.count(), threading.Lock()

    def misbehave(seen: Seen) -> Fault | None:
        if not meant(seen):
            return None
        with guard:
            return fault if next(count) < times else None

    return misbehave


class Faulty:
    """The proxy; what it does may be changed at any time.

    Attributes:
        url: its own address, without a slash at the end.
        requests: those that came, also those that met a fault.
        met: how many faults happened.
        passed: bytes of bodies that were passed on to the server.
    """

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        self._server = (parts.hostname or "", parts.port or 80)
        self.url = ""
        self.requests: list[Seen] = []
        self.misbehave: Misbehave = lambda seen: None
        self.met = 0
        self.passed = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()

    def asked(self, method: str, ending: str = "") -> list[Seen]:
        """Requests of a method whose paths end so."""
        return [seen for seen in self.requests if seen.method == method and seen.path.endswith(ending)]

    def forget(self) -> None:
        """Misbehave no more, and count from nought again."""
        with self._guard:
            self.misbehave = lambda seen: None
            self.requests.clear()
            self._counts.clear()
            self.met = self.passed = 0

    def _note(self, method: str, target: str, headers: dict[str, str]) -> tuple[Seen, Fault | None]:
        path, _, query = target.partition("?")
        with self._guard:
            number = self._counts[method, path] = self._counts.get((method, path), 0) + 1
            seen = Seen(method, path, query, headers, number)
            self.requests.append(seen)
        fault = self.misbehave(seen)
        with self._guard:
            self.met += fault is not None
        return seen, fault

    def _count(self, size: int) -> None:
        with self._guard:
            self.passed += size

    @contextmanager
    def _kept(self, connection: socket.socket) -> Iterator[None]:
        with self._guard:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._guard:
                self._open.discard(connection)

    def _hang_up(self) -> None:
        self._closing.set()
        with self._guard:
            still = list(self._open)
        for connection in still:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _serve(self, caller: socket.socket) -> None:
        with closing(caller), self._kept(caller), suppress(_Broken, OSError, ValueError):
            caller.settimeout(_PATIENCE)
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with closing(caller.makefile("rb")) as reader:
                while self._exchange(caller, reader):
                    pass

    def _exchange(self, caller: socket.socket, reader: BinaryIO) -> bool:
        """One request and its answer; whether another one may follow."""
        head = _head(reader)
        if head is None:
            return False
        line, fields = head
        method, target, _ = line.split(" ", 2)
        headers = {name.lower(): value for name, value in fields}
        seen, fault = self._note(method, target, headers)
        if headers.get("expect", "").lower() == "100-continue":
            caller.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            fields = [each for each in fields if each[0].lower() != "expect"]
        body = _body(reader, headers)
        match fault:
            case Answer(status, told, content):
                for _ in body:
                    pass
                told = {"Content-Length": str(len(content)), **told}
                caller.sendall(_rendered(f"HTTP/1.1 {status} Fault", list(told.items())))
                caller.sendall(b"" if method == "HEAD" else content)
                return True
            case Silent(seconds):
                for _ in body:
                    pass
                self._closing.wait(seconds)
                return False
        return self._pass_on(caller, seen, (line, fields), body, fault)

    def _pass_on(
        self,
        caller: socket.socket,
        seen: Seen,
        head: tuple[str, list[tuple[str, str]]],
        body: Iterator[bytes],
        fault: Fault | None,
    ) -> bool:
        with ExitStack() as stack:
            server = stack.enter_context(closing(socket.create_connection(self._server, timeout=_PATIENCE)))
            stack.enter_context(self._kept(server))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.sendall(_rendered(*head))
            left = fault.after if isinstance(fault, CutRequest) else None
            if isinstance(fault, FlipRequest):
                body = _flipped(body, fault.at)
            for piece in body:
                sent = piece if left is None else piece[:left]
                server.sendall(sent)
                self._count(len(sent))
                if left is not None:
                    left -= len(sent)
                    if left == 0:
                        break
            if left is not None:
                _reset(server)
                _reset(caller)
                return False
            reader = stack.enter_context(closing(server.makefile("rb")))
            return _answer(caller, reader, seen, fault)


def _answer(caller: socket.socket, reader: BinaryIO, seen: Seen, fault: Fault | None) -> bool:
    """Pass the server's answer on; whether the connection can be used again."""
    head = _head(reader)
    while head is not None and head[0].split(" ")[1] == "100":
        head = _head(reader)
    if head is None or isinstance(fault, Lost):
        _reset(caller)
        return False
    line, fields = head
    if isinstance(fault, Headers):
        changed = {name.lower() for name in fault.fields}
        fields = [each for each in fields if each[0].lower() not in changed] + list(fault.fields.items())
    headers = {name.lower(): value for name, value in head[1]}
    empty = seen.method == "HEAD" or line.split(" ")[1] in ("204", "304")
    ends = empty or "content-length" in headers or "chunked" in headers.get("transfer-encoding", "")
    body = iter(()) if empty else (_body(reader, headers) if ends else _rest(reader))
    caller.sendall(_rendered(line, fields))
    if isinstance(fault, FlipAnswer):
        body = _flipped(body, fault.at)
    left = fault.after if isinstance(fault, CutAnswer) else None
    for piece in body:
        if isinstance(fault, Slow):
            for place in range(0, len(piece), fault.piece):
                caller.sendall(piece[place : place + fault.piece])
                time.sleep(fault.pause)
            continue
        caller.sendall(piece if left is None else piece[:left])
        if left is not None:
            left = max(0, left - len(piece))
            if left == 0:
                break
    if left is not None:
        _reset(caller)
        return False
    return ends and headers.get("connection", "").lower() != "close"


class _Broken(Exception):
    """A connection ended in the middle of something."""


def _head(reader: BinaryIO) -> tuple[str, list[tuple[str, str]]] | None:
    """The first line and the header fields; None where the connection has ended."""
    first_line = reader.readline(_LONGEST_HEAD)
    if not first_line.strip():
        return None
    fields = []
    while (line := reader.readline(_LONGEST_HEAD)) not in (b"\r\n", b"\n"):
        if not line:
            raise _Broken
        name, _, value = line.decode("latin-1").partition(":")
        fields.append((name.strip(), value.strip()))
    return first_line.decode("latin-1").rstrip("\r\n"), fields


def _rendered(line: str, fields: list[tuple[str, str]]) -> bytes:
    lines = [line, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _body(reader: BinaryIO, headers: dict[str, str]) -> Iterator[bytes]:
    """A message's body as it travels: chunks with their frames."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        yield from _chunks(reader)
    else:
        yield from _exactly(reader, int(headers.get("content-length", "0")))


def _chunks(reader: BinaryIO) -> Iterator[bytes]:
    while True:
        line = reader.readline(_LONGEST_HEAD)
        size = int(line.split(b";")[0], 16)
        if size == 0:
            while line.strip():  # trailers
                yield line
                line = reader.readline(_LONGEST_HEAD)
            yield line
            return
        yield line
        yield from _exactly(reader, size)
        yield reader.readline(8)


def _exactly(reader: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        piece = reader.read1(min(size, _PIECE))  # type: ignore[attr-defined]
        if not piece:
            raise _Broken
        size -= len(piece)
        yield piece


def _rest(reader: BinaryIO) -> Iterator[bytes]:
    while piece := reader.read1(_PIECE):  # type: ignore[attr-defined]
        yield piece


def _flipped(pieces: Iterator[bytes], at: int) -> Iterator[bytes]:
    """The pieces with the lowest bit of the byte at a place turned over; of the last one where they end before it."""
    place = 0
    held = b""
    done = False
    for piece in pieces:
        if not done and place <= at < place + len(piece):
            at_here = at - place
            piece = piece[:at_here] + bytes((piece[at_here] ^ 1,)) + piece[at_here + 1 :]  # noqa: PLW2901
            done = True
        place += len(piece)
        if held:
            yield held
        held = piece
    if held and not done:
        held = held[:-1] + bytes((held[-1] ^ 1,))
    if held:
        yield held


def _reset(connection: socket.socket) -> None:
    """Break a connection as a machine does that goes away: with a reset, not with an orderly end."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def before(server: str) -> Iterator[Faulty]:
    """A proxy before the server of a URL (`http://127.0.0.1:PORT`), for as long as the context lasts."""
    faulty = Faulty(server)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        faulty.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.settimeout(0.05)

        def accept() -> None:
            while not faulty._closing.is_set():
                try:
                    caller, _ = listening.accept()
                except TimeoutError:
                    continue
                except OSError:
                    return
                threading.Thread(target=faulty._serve, args=(caller,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield faulty
        finally:
            faulty._hang_up()
            thread.join()
