"""Requests as ASGI brings them: who is behind a proxy, and what is refused before anything else is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network

from starlette.types import Scope, Send

from stellaops.core.egress import Network
from stellaops.gateway.answers import Headers, Refused
from stellaops.gateway.errors import MirrorMethod, MirrorRequest

AUTHORIZE = b"/_stella/authorize"
"""Where a proxy in front asks whether its client may have what it asks for."""
EXCHANGE = b"/_stella/exchange"
"""Where a proxy in front gives back what it was lent, and hears whether anything has changed."""
OF_PROXIES = (AUTHORIZE, EXCHANGE)
TRANSPORT = "stella.transport"
"""Extension of ASGI: the connection, which knows whether anybody is still there."""
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")
_ONCE = (b"host", b"authorization", b"content-length", b"transfer-encoding", b"range", b"if-range")


@dataclass(slots=True)
class Request:
    """One request; what is found out about it on the way is for the log."""

    method: str
    path: bytes
    headers: dict[bytes, bytes]
    host: str
    host_and_port: str
    address: str
    scheme: str
    is_gone: Callable[[], bool]
    has_begun: bool = False
    domain: str = "-"
    kind: str = "other"
    caller: str = ""
    status: int = 0
    bytes: int = 0
    cache: str = "NONE"
    traceparent: str = ""
    """Of the span of the request, where traces are made."""
    error_code: str = ""
    is_of_proxy: bool = False
    """Whether a proxy of ours asks about it, which answers it itself."""

    @property
    def is_registry(self) -> bool:
        """Whether a client of a registry asks."""
        return self.path.startswith(b"/v2/") or self.path == b"/v2"


def read_request(scope: Scope, trusted: Sequence[Network]) -> Request:
    """A request as ASGI brings it.

    Args:
        trusted: proxies, whose word about addresses and schemes counts.
    """
    client = scope.get("client")
    transport = scope.get("extensions", {}).get(TRANSPORT)
    is_gone = transport["is_closing"] if transport is not None else _never
    request = made(
        scope["method"],
        scope["raw_path"],
        scope["headers"],
        (client[0] if client else "", scope["scheme"]),
        trusted,
    )
    request.is_gone = is_gone
    return request


def made(
    method: str,
    path: bytes,
    lines: Sequence[tuple[bytes, bytes]],
    origin: tuple[str, str],
    trusted: Sequence[Network],
) -> Request:
    """A request, out of its parts.

    Args:
        origin: address and scheme of the connection.
    """
    address, scheme = origin
    headers = dict(lines)
    if trusted and b"x-forwarded-for" in headers and is_within(address, trusted):
        address = _forwarded(headers[b"x-forwarded-for"], address, trusted)
        told = headers.get(b"x-forwarded-proto", b"").decode("latin-1").lower()
        scheme = told if told in ("http", "https") else scheme
    host = headers.get(b"host", b"")
    return Request(
        method, path, headers, _name_of(host), host.decode("latin-1").lower(), address, scheme, _never
    )


@lru_cache(maxsize=256)
def _name_of(host: bytes) -> str:
    """The name in a Host header, without port; empty where there is none."""
    found = _HOST.fullmatch(host.decode("latin-1").lower())
    return found[1].rstrip(".") if found else ""


@lru_cache(maxsize=4096)
def place_of(address: str) -> str:
    """Whom an address is counted as: itself, or the /64 network of IPv6, which is what one host has."""
    if ":" not in address:
        return address
    try:
        return str(ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address


def _never() -> bool:
    return False


def _forwarded(header: bytes, address: str, trusted: Sequence[Network]) -> str:
    """The last address that no proxy of ours has added."""
    for text in reversed([each.strip() for each in header.decode("latin-1").split(",")]):
        try:
            ip_address(text)
        except ValueError:
            return address
        address = text
        if not is_within(text, trusted):
            return text
    return address


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of some networks; none at all is a socket of this machine."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return not address  # a socket of this machine has none
    return any(parsed in each for each in networks)


def demand_form(request: Request, scope: Scope) -> None:
    """Refuse what another server on the way may have read otherwise.

    Raises:
        Refused: see there.
    """
    headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
    if scope["http_version"] not in ("1.0", "1.1"):
        raise Refused(400, MirrorRequest("this is not HTTP/1.1"))
    if not request.host and (b"host" in request.headers or scope["http_version"] == "1.1"):
        raise Refused(400, MirrorRequest("the header host is missing, or no host name"))
    if request.method not in ("GET", "HEAD"):
        raise Refused(405, MirrorMethod("mirrors are only read"), [(b"allow", b"GET, HEAD")])
    if not has_form(request, headers):
        text = "a request has no body, and names its host, credentials and range once"
        raise Refused(400, MirrorRequest(text))


def has_form(request: Request, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request has no body, and says only once what must not be said twice."""
    if len(headers) != len(request.headers):
        names = [name for name, _ in headers]
        if any(names.count(each) > 1 for each in _ONCE):
            return False
    told = request.headers
    return b"transfer-encoding" not in told and told.get(b"content-length", b"0").strip() == b"0"


async def respond(send: Send, status: int, headers: Headers, body: bytes, request: Request) -> None:
    """Send a whole answer; the body of a HEAD request stays here."""
    request.status, request.bytes = status, len(body)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})
