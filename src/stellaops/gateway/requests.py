"""Requests as ASGI brings them: who is behind a proxy, and what is refused before anything else is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.types import Scope

from stellaops.core.egress import Network
from stellaops.gateway.answers import Refused
from stellaops.gateway.errors import MirrorMethod, MirrorRequest

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

    @property
    def is_registry(self) -> bool:
        """Whether a client of a registry asks."""
        return self.path.startswith(b"/v2/") or self.path == b"/v2"


def read_request(scope: Scope, trusted: Sequence[Network]) -> Request:
    """A request.

    Args:
        trusted: proxies, whose word about addresses and schemes counts.
    """
    headers = dict(scope["headers"])
    client = scope.get("client")
    address = client[0] if client else ""
    if trusted and b"x-forwarded-for" in headers and is_within(address, trusted):
        address = _forwarded(headers[b"x-forwarded-for"], address, trusted)
        scheme = headers.get(b"x-forwarded-proto", b"").decode("latin-1").lower()
        scheme = scheme if scheme in ("http", "https") else scope["scheme"]
    else:
        scheme = scope["scheme"]
    told = headers.get(b"host", b"").decode("latin-1").lower()
    host = _HOST.fullmatch(told)
    name = host[1].rstrip(".") if host else ""
    transport = scope.get("extensions", {}).get(TRANSPORT)
    is_gone = transport["is_closing"] if transport is not None else _never
    return Request(scope["method"], scope["raw_path"], headers, name, told, address, scheme, is_gone)


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
    if len(headers) != len(request.headers):
        names = [name for name, _ in headers]
        for each in _ONCE:
            if names.count(each) > 1:
                raise Refused(400, MirrorRequest(f"the header {each.decode()} came more than once"))
    if (
        b"transfer-encoding" in request.headers
        or request.headers.get(b"content-length", b"0").strip() != b"0"
    ):
        raise Refused(400, MirrorRequest("a request with a body is not answered"))
