"""One HTTP client for every fetch: egress policy, proxy, certificates, credentials, redirects.

Redirects are followed here and nowhere else, each through the policy; credentials go to the origin that they are for
and to no other. Bodies are read in pieces; a body that is shorter than announced is an error, never an end.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Timeout
from urllib3.exceptions import HTTPError, SSLError
from urllib3.util import make_headers, parse_url

from stellaops import __version__
from stellaops.adapters.web.egress import Resolve, guarded_pools, in_words, resolve
from stellaops.core.egress import BadUrl, EgressPolicy, Target, redacted
from stellaops.core.errors import MissingPrerequisite
from stellaops.ingest.pull_errors import ConnectionFailed, StatusUnexpected, TlsFailed

USER_AGENT = f"stellaops/{__version__}"

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MOST_REDIRECTS = 10
_PIECE = 256 << 10


class CaFileUnusable(MissingPrerequisite):
    """The file with certificates cannot be read, or holds none."""

    code = "ERR_EGRESS_CA_FILE"
    hint = "Name a file of PEM certificates, readable for the user that runs stella, in the setting egress.caFile."


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How the network is reached.

    Attributes:
        proxy: URL of a proxy, with credentials if it wants some; shown nowhere.
        no_proxy: hosts, domains and networks that are reached without it.
        ca_file: certificates that are trusted beside the system's.
        connect_seconds, read_seconds: the longest wait for a connection, and for the next piece of an answer.
    """

    policy: EgressPolicy
    proxy: str | None = None
    no_proxy: tuple[str, ...] = ()
    ca_file: Path | None = None
    connect_seconds: float = 15.0
    read_seconds: float = 60.0

    def __repr__(self) -> str:
        return f"WebSettings(policy={self.policy!r})"


class Reply:
    """An answer whose body is still to be read; header names are in lower case."""

    def __init__(self, response: BaseHTTPResponse, url: str) -> None:
        self._response = response
        self.url = url
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    @property
    def length(self) -> int | None:
        """Bytes of the body as they will be read; None where that is not told."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() and not self.encoded else None

    @property
    def encoded(self) -> bool:
        """Whether the body is compressed on the way, so that lengths and ranges speak of something else."""
        return self.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")

    def pieces(self) -> Iterator[bytes]:
        """The body.

        Raises:
            ConnectionFailed: it ended too early, or not in time.
        """
        try:
            # What has come is handed on at once, so that a break loses none of it.
            while piece := self._response.read1(_PIECE, decode_content=True):
                yield piece
        except (HTTPError, OSError) as error:
            raise ConnectionFailed(
                f"{redacted(self.url)}: the answer was cut off: {in_words(error)}"
            ) from error


class WebClient:
    """GET requests under a policy. Safe for threads; connections are kept and used again."""

    def __init__(self, settings: WebSettings, *, look_up: Resolve = resolve, connections: int = 16) -> None:
        self._settings = settings
        tls = tls_context(settings.ca_file)
        options: dict[str, object] = {"maxsize": connections, "num_pools": 32, "retries": False}
        self._ways = Ways(settings, tls, options, look_up=look_up)

    @contextmanager
    def get(
        self,
        url: str,
        *,
        hosts: Iterable[str],
        headers: Mapping[str, str],
        sign: Callable[[str, Mapping[str, str]], dict[str, str]] = lambda url, headers: {},
        signed_origin: str = "",
    ) -> Iterator[Reply]:
        """Open a URL, following redirects.

        Args:
            hosts: that may be connected to (`EgressPolicy.admit`).
            sign: the credentials as headers; only asked for requests to `signed_origin`.

        Raises:
            ConnectionFailed, TlsFailed, StatusUnexpected: see there; and what the policy refuses.
        """
        allowed = tuple(hosts)
        for _ in range(_MOST_REDIRECTS + 1):
            target = self._settings.policy.admit(url, allowed)
            sent = {"user-agent": USER_AGENT, "accept-encoding": "identity", **headers}
            if target.origin == signed_origin:
                sent |= sign(url, headers)
            response = self._open(url, target, sent)
            try:
                if response.status in _REDIRECTS:
                    url = _redirect(url, response)
                    continue
                yield Reply(response, url)
                return
            finally:
                _done_with(response)
        raise StatusUnexpected(f"{redacted(url)}: more than {_MOST_REDIRECTS} redirects")

    def _open(self, url: str, target: Target, headers: Mapping[str, str]) -> BaseHTTPResponse:
        timeout = Timeout(connect=self._settings.connect_seconds, read=self._settings.read_seconds)
        try:
            return self._ways.to(target).urlopen(
                "GET", url, headers=dict(headers), redirect=False, retries=False, preload_content=False,
                timeout=timeout,
            )  # fmt: skip
        except SSLError as error:
            raise TlsFailed(f"{redacted(url)}: {in_words(error)}") from error
        except (HTTPError, OSError) as error:
            raise ConnectionFailed(f"{redacted(url)}: {in_words(error)}") from error
        except ValueError as error:
            raise BadUrl(f"{redacted(url)}: {error}") from error


def _done_with(response: BaseHTTPResponse) -> None:
    # A connection can be used again when its body was read to the end; of a long rest it is cheaper to close it.
    if not response.closed:
        remaining = response.length_remaining
        if remaining is not None and remaining <= _PIECE:
            response.drain_conn()
        else:
            response.close()
    response.release_conn()


def _redirect(url: str, response: BaseHTTPResponse) -> str:
    location = response.headers.get("location")
    if not location:
        raise StatusUnexpected(f"{redacted(url)}: a redirect to nowhere")
    return urljoin(url, location)


def tls_context(*ca_files: Path | None) -> ssl.SSLContext:
    """What connections are protected by: the system's certificates and those of files.

    Raises:
        CaFileUnusable: see there.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for ca_file in filter(None, ca_files):
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise CaFileUnusable(f"{ca_file}: {error.strerror or 'no PEM certificates'}") from error
    return context


def proxied(settings: WebSettings, tls: ssl.SSLContext, options: dict[str, object]) -> PoolManager | None:
    """Connections through the proxy, where there is one.

    It resolves names itself: there the policy knows only names and literals.
    """
    if not settings.proxy:
        return None
    parts = parse_url(settings.proxy if "://" in settings.proxy else f"http://{settings.proxy}")
    credentials = make_headers(proxy_basic_auth=parts.auth) if parts.auth else {}
    bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2] if parts.netloc else ''}"
    try:
        return ProxyManager(bare, proxy_headers=credentials, ssl_context=tls, **options)  # type: ignore[arg-type]
    except (HTTPError, ValueError):
        raise BadUrl("the setting egress.proxy is no proxy's URL") from None


class Ways:
    """Connections straight to hosts, and through the proxy where there is one. Safe for threads.

    Args:
        options: of both kinds of connections.
        look_up: what resolves the names of hosts that are reached without a proxy.
    """

    def __init__(
        self,
        settings: WebSettings,
        tls: ssl.SSLContext,
        options: dict[str, object],
        *,
        look_up: Resolve = resolve,
    ) -> None:
        self._no_proxy = settings.no_proxy
        self.direct = guarded_pools(settings.policy, tls, look_up=look_up, **options)
        self.through = proxied(settings, tls, options)

    def to(self, target: Target) -> PoolManager:
        """Those that lead to a host."""
        if self.through is None or without_proxy(target, self._no_proxy):
            return self.direct
        return self.through


def body_in_time(response: BaseHTTPResponse, most: int, seconds: float, *, decode: bool) -> bytes:
    """The begin of a body, up to about `most` bytes.

    Each piece may be late by itself, but not all of them together.

    Raises:
        TimeoutError: it did not come in time.
    """
    data, until = bytearray(), time.monotonic() + seconds
    while len(data) < most and (piece := response.read1(most, decode_content=decode)):
        data += piece
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(data)


def without_proxy(target: Target, patterns: tuple[str, ...]) -> bool:
    """Whether a host is one of those that are reached without a proxy."""
    for pattern in patterns:
        name = pattern.strip().lower().lstrip("*").lstrip(".")
        if pattern.strip() == "*" or target.host == name or target.host.endswith(f".{name}"):
            return True
        try:
            if ip_address(target.host) in ip_network(name, strict=False):
                return True
        except ValueError:
            continue
    return False
