"""One who asks a mirror as any client would: under the egress policy, without redirects, with bodies as they come."""

from __future__ import annotations

import base64
import hashlib
import ssl
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, PoolManager, Timeout
from urllib3.exceptions import HTTPError, SSLError

from stellaops.adapters.web.client import USER_AGENT, WebSettings, proxied, tls_context, without_proxy
from stellaops.adapters.web.egress import guarded_pools, in_words, resolve
from stellaops.core.egress import redacted, target_of
from stellaops.mirrors.checks.ports import CheckNotTrusted, CheckUnreachable, Login, Question, Seen, TlsSeen

_PIECE = 256 << 10
_WRONG = f"Basic {base64.b64encode(b'nobody-of-this-name:no-password-at-all').decode()}"
_OLD = "TLS 1.1"


@dataclass(frozen=True, slots=True)
class Reached:
    """How a mirror is reached.

    Attributes:
        sign: the credentials as headers; None where there are none.
        address: connect to this address instead of those of the host name.
    """

    url: str
    web: WebSettings
    sign: Callable[[str, Mapping[str, str]], dict[str, str]] | None = None
    address: str | None = None


class Outsider:
    """`mirrors.checks.ports.Asker` over HTTP."""

    def __init__(self, reached: Reached) -> None:
        self._reached = reached
        target = reached.web.policy.admit(reached.url, (target_of(reached.url).host,))
        self._target, self._base = target, reached.url.rstrip("/")
        self._prefix = self._base.split("//", 1)[1].partition("/")[2]
        self._pool = self._opened(tls_context(reached.web.ca_file))
        self._tls: tuple[str, datetime] | None = None
        self._requests = 0

    @property
    def place(self) -> str:
        """See the port."""
        return redacted(self._base)

    @property
    def is_secure(self) -> bool:
        """See the port."""
        return self._target.scheme == "https"

    @property
    def is_local(self) -> bool:
        """See the port."""
        host = self._reached.address or self._target.host
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def is_exact(self) -> bool:
        """See the port."""
        return not self._is_forwarded

    @property
    def has_login(self) -> bool:
        """See the port."""
        return self._reached.sign is not None

    @property
    def requests(self) -> int:
        """See the port."""
        return self._requests

    def ask(self, question: Question) -> Seen:
        """See the port."""
        path = f"/{self._prefix}{question.path}" if self._prefix else question.path
        headers = {"user-agent": USER_AGENT, "accept-encoding": "identity", **question.headers}
        if question.login is Login.WRONG:
            headers["authorization"] = _WRONG
        elif question.login is Login.GOOD and self._reached.sign is not None:
            headers |= self._reached.sign(self._base + question.path, headers)
        if self._is_forwarded:
            headers |= self._pool.proxy_headers
        self._requests += 1
        body = b"" if question.method in ("POST", "PUT") else None
        try:
            response = self._pool.urlopen(
                question.method, self._sent(path), headers=headers, body=body, redirect=False, retries=False,
                assert_same_host=False, preload_content=False, timeout=self._timeout(),
            )  # fmt: skip
            try:
                self._note_tls(response)
                return _read(response, question)
            finally:
                response.drain_conn() if response.length_remaining in (0, None) else response.close()
                response.release_conn()
        except SSLError as error:
            raise CheckNotTrusted(f"{self.place}: {in_words(error)}") from error
        except (HTTPError, OSError) as error:
            raise CheckUnreachable(f"{self.place}{question.path}: {in_words(error)}") from error

    def tls(self) -> TlsSeen:
        """See the port."""
        if self._tls is None:
            self.ask(Question("/healthz", Login.NONE, keep=0))
        version, expires = self._tls or ("", datetime.max.replace(tzinfo=UTC))
        return TlsSeen(version, expires, self._old())

    def _opened(self, tls: ssl.SSLContext) -> HTTPConnectionPool:
        """The pool of connections to the mirror: straight, or through the proxy of the settings."""
        options: dict[str, object] = {"maxsize": 4, "retries": False}
        address = self._reached.address
        look_up = resolve if address is None else lambda host, port: [address]
        found: PoolManager = guarded_pools(self._reached.web.policy, tls, look_up=look_up, **options)
        if address is None and not without_proxy(self._target, self._reached.web.no_proxy):
            found = proxied(self._reached.web, tls, options) or found
        return found.connection_from_host(self._target.host, self._target.port, self._target.scheme)

    def _sent(self, path: str) -> str:
        """What stands in the request: the path as it is; the whole address for a proxy that forwards without TLS."""
        return f"{self._target.origin}{path}" if self._is_forwarded else path

    @property
    def _is_forwarded(self) -> bool:
        return self._pool.proxy is not None and not self.is_secure

    def _timeout(self) -> Timeout:
        return Timeout(connect=self._reached.web.connect_seconds, read=self._reached.web.read_seconds)

    def _note_tls(self, response: BaseHTTPResponse) -> None:
        socket = getattr(response.connection, "sock", None)
        if self._tls is not None or not isinstance(socket, ssl.SSLSocket):
            return
        told: Any = socket.getpeercert() or {}
        expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(told["notAfter"]), UTC)
        self._tls = socket.version() or "", expires

    def _old(self) -> str | None:
        """The version before TLS 1.2 that is spoken; None where this machine's library cannot speak it either."""
        try:
            context = _old_context()
        except (ssl.SSLError, ValueError):
            return None
        pool = self._opened(context)
        try:
            pool.urlopen(
                "GET", self._sent("/healthz"), retries=False, redirect=False, timeout=self._timeout()
            )
        except SSLError as error:
            return None if "NO_PROTOCOLS_AVAILABLE" in str(error) else ""
        except (HTTPError, OSError):
            return ""
        finally:
            pool.close()
        return _OLD


def _old_context() -> ssl.SSLContext:
    """Speaks nothing after TLS 1.1; whom it speaks to does not matter, for it tells nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


def _read(response: BaseHTTPResponse, question: Question) -> Seen:
    kept, hasher, size = bytearray(), hashlib.sha256(), 0
    while piece := response.read(_PIECE, decode_content=False):
        hasher.update(piece)
        if question.hasher is not None:
            question.hasher.update(piece)
        size += len(piece)
        if len(kept) < question.keep:
            kept += piece[: question.keep - len(kept)]
    headers = {name.lower(): response.headers[name] for name in response.headers}
    return Seen(response.status, headers, bytes(kept), size, hasher.hexdigest())
