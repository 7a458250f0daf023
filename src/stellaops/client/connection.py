"""Requests to a server: with a token, for a tenant, again where that is safe, refused with the server's own errors."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import msgspec
from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from stellaops.adapters.web.client import USER_AGENT
from stellaops.client.errors import ServerAnswerUnusable, ServerGone, ServerUnreachable
from stellaops.client.problems import error_of
from stellaops.core.egress import redacted
from stellaops.core.errors import StellaError
from stellaops.ingest.pull_errors import TlsFailed

_LONGEST_WAIT = 30
_PATIENCE = (3.0, 5.0, 10.0, 15.0, 30.0)
_AWAY = (502, 503, 504)
_LARGEST = 64 << 20
_PROGRESS = "ERR_IDEMPOTENCY_IN_PROGRESS"
READ = 60.0
"""Seconds that an ordinary answer may take."""
WORK = 6 * 3600.0
"""Seconds that an answer may take that stands at the end of work, such as an import."""


class Tokens(Protocol):
    """Where access tokens come from."""

    def token(self, *, renew: bool = False) -> str:
        """A valid token.

        Args:
            renew: the one given before is not taken any more.

        Raises:
            LoginNeeded, LoginRefused: see there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send."""

    path: Path
    media: str


@dataclass(frozen=True)
class Connection:
    """A server, as one client and for one tenant.

    Attributes:
        server: its address, without a slash at the end.
        tenant: whom is acted for; the token's first when None.
        pause: waits for so many seconds.
        pauses: before each further attempt at a request, in seconds.
    """

    server: str
    pools: PoolManager
    tokens: Tokens
    tenant: str | None = None
    pause: Callable[[float], None] = field(default=time.sleep)
    pauses: tuple[float, ...] = (0.2, 0.6, 1.8)

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """What is at a path, as JSON values."""
        return self._decoded(self._asked("GET", path, query))

    def raw(self, path: str, query: Mapping[str, Any] | None = None) -> bytes:
        """What is at a path, as bytes."""
        return self._asked("GET", path, query)

    def pages(
        self, path: str, query: Mapping[str, Any] | None = None, limit: int | None = None
    ) -> Iterator[Any]:
        """The items of a list, page by page."""
        cursor, count = None, 0
        while True:
            size = {} if limit is None else {"limit": min(500, limit - count)}
            page = self.get(path, {**(query or {}), **size, "cursor": cursor})
            found, cursor = items(page), page.get("next")
            for item in found:
                yield item
                count += 1
                if count == limit:
                    return
            if not cursor or not found:
                return

    def change(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        *,
        patience: float = READ,
    ) -> Any:
        """Change something, once however often the request has to be sent; the answer as JSON values."""
        data = None if body is None else msgspec.json.encode(body)
        return self._decoded(
            self._asked(method, path, query, data, patience=patience, key=secrets.token_hex(16))
        )

    def ask(self, path: str, body: Any) -> Any:
        """A question that needs a body; changes nothing."""
        return self._decoded(self._asked("POST", path, None, msgspec.json.encode(body)))

    def send(self, path: str, upload: Upload, query: Mapping[str, Any] | None = None) -> Any:
        """Send a file and wait for what comes of it."""
        key = secrets.token_hex(16)
        return self._decoded(self._asked("POST", path, query, upload, patience=WORK, key=key))

    @contextmanager
    def open(
        self, method: str, path: str, headers: Mapping[str, str], *, read: float = READ
    ) -> Iterator[BaseHTTPResponse]:
        """One attempt at an answer that is read by and by.

        Args:
            read: seconds without anything new after which it is given up.

        Raises:
            ServerUnreachable: see there.
            StellaError: what the server refused with.
        """
        response = self._attempt(method, path, None, headers, read=read)
        if response.status == 401:
            response.drain_conn()
            response = self._attempt(method, path, None, headers, read=read, renew=True)
        try:
            if response.status >= 300 and response.status != 416:
                raise error_of(response.status, response.read(_LARGEST), self._shown(path))
            yield response
        finally:
            response.close()
            response.release_conn()

    def pieces(self, response: BaseHTTPResponse, size: int) -> Iterator[bytes]:
        """The body of an answer as it comes, up to `size` bytes at a time.

        Raises:
            ServerUnreachable: it was cut off.
        """
        while True:
            try:
                piece = response.read1(size, decode_content=False)
            except (HTTPError, OSError) as error:
                raise ServerGone(
                    f"{redacted(self.server)}: the answer was cut off: {_reason(error)}"
                ) from error
            if not piece:
                return
            yield piece

    def _asked(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: bytes | Upload | None = None,
        *,
        patience: float = READ,
        key: str | None = None,
    ) -> bytes:
        """The body of a good answer; asked again where that changes nothing twice."""
        headers = {"idempotency-key": key} if key else {}
        pauses, renew, renewed, gone = list(self.pauses), False, False, False
        while True:
            try:
                response = self._attempt(method, path, query, headers, body, read=patience, renew=renew)
                renew = False
                data = self._read(response, path)
            except ServerUnreachable as lost:
                if isinstance(lost, ServerGone) and not gone:
                    # It was there a moment ago, and may have done what was asked: worth more patience.
                    pauses, gone = [*pauses, *_PATIENCE], True
                if not pauses:
                    raise
                self.pause(pauses.pop(0))
                continue
            if 300 <= response.status < 400:
                raise ServerAnswerUnusable(
                    f"{self._shown(path)}: the server answers {response.status}, a redirect"
                )
            if response.status < 400:
                return data
            error = error_of(response.status, data, self._shown(path))
            if response.status == 401 and not renewed:
                renew = renewed = True
                continue
            wait = self._wait(
                response, error, pauses, changes=key is not None, uploads=isinstance(body, Upload)
            )
            if wait is None:
                raise error
            self.pause(wait)

    def _wait(
        self,
        response: BaseHTTPResponse,
        error: StellaError,
        pauses: list[float],
        *,
        changes: bool,
        uploads: bool,
    ) -> float | None:
        """Seconds after which to ask again; None where the answer stands."""
        told = response.headers.get("retry-after", "")
        wanted = float(told) if told.isdecimal() else None
        if error.code == _PROGRESS:
            return max(wanted or 1.0, 10.0 if uploads else 1.0)
        ours = "problem+json" in response.headers.get("content-type", "")
        again = response.status in _AWAY and not (changes and ours)
        again = again or (response.status == 429 and not changes)
        if not again or not pauses:
            return None
        least = pauses.pop(0)
        return least if wanted is None else min(max(wanted, least), _LONGEST_WAIT)

    def _attempt(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        body: bytes | Upload | None = None,
        *,
        read: float,
        renew: bool = False,
    ) -> BaseHTTPResponse:
        sent = {
            "user-agent": USER_AGENT,
            "authorization": f"Bearer {self.tokens.token(renew=renew)}",
            **headers,
        }
        if self.tenant is not None:
            sent["x-stella-tenant"] = self.tenant
        url = self.server + path + _query(query)
        if not isinstance(body, Upload):
            if body is not None:
                sent["content-type"] = "application/json"
            return self._open(method, url, sent, body, read)
        sent |= {"content-type": body.media, "content-length": str(body.path.stat().st_size)}
        with body.path.open("rb") as file:
            return self._open(method, url, sent, file, read)

    def _open(
        self, method: str, url: str, headers: Mapping[str, str], body: Any, read: float
    ) -> BaseHTTPResponse:
        try:
            return self.pools.urlopen(
                method, url, headers=dict(headers), body=body, redirect=False, retries=False, preload_content=False,
                timeout=Timeout(connect=15.0, read=read),
            )  # fmt: skip
        except SSLError as error:
            raise TlsFailed(f"{redacted(url)}: {_reason(error)}") from error
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise ServerUnreachable(f"{redacted(url)}: {_reason(error)}") from error
        except (HTTPError, OSError) as error:
            raise ServerGone(f"{redacted(url)}: {_reason(error)}") from error

    def _read(self, response: BaseHTTPResponse, path: str) -> bytes:
        try:
            data = response.read(_LARGEST + 1, decode_content=True)
        except (HTTPError, OSError) as error:
            raise ServerGone(f"{self._shown(path)}: the answer was cut off: {_reason(error)}") from error
        finally:
            response.release_conn()
        if len(data) > _LARGEST:
            response.close()
            raise ServerAnswerUnusable(f"{self._shown(path)}: an answer of more than {_LARGEST:,} bytes")
        return data

    def _decoded(self, data: bytes) -> Any:
        try:
            return msgspec.json.decode(data) if data else None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ServerAnswerUnusable(f"{redacted(self.server)}: an answer that is no JSON") from error

    def _shown(self, path: str) -> str:
        return redacted(self.server + path)


def mapping(value: Any) -> dict[str, Any]:
    """An answer that is an object.

    Raises:
        ServerAnswerUnusable: it is none.
    """
    if not isinstance(value, dict):
        raise ServerAnswerUnusable("the server's answer is no object")
    return value


def items(value: Any) -> list[dict[str, Any]]:
    """An answer that is a list, or a page of one.

    Raises:
        ServerAnswerUnusable: it is none.
    """
    found = mapping(value).get("items")
    if not isinstance(found, list):
        raise ServerAnswerUnusable("the server's answer is no list")
    return [mapping(each) for each in found]


def path_of(base: str, *parts: str) -> str:
    """A path below another, of parts that are names which someone chose."""
    return "/".join((base, *(quote(part, safe=":@!$&'()*+,;=") for part in parts)))


def _query(values: Mapping[str, Any] | None) -> str:
    found = [
        (name, str(value).lower() if isinstance(value, bool) else str(value))
        for name, value in (values or {}).items()
        if value is not None and value is not False
    ]
    return f"?{urlencode(found)}" if found else ""


def _reason(error: BaseException) -> str:
    """A failure in words; the library's texts hold object addresses and no secrets."""
    cause = getattr(error, "reason", None) or error
    return (str(cause) or type(cause).__name__).rpartition(">: ")[2][:300]
