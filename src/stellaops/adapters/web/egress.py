"""Connections under the egress policy: the address that was checked is the one that is connected to."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from stellaops.core.egress import AddressRefused, EgressPolicy

_OBJECT = re.compile(r"^\w+\(host=[^)]*\): ")

Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, in the system's order of preference.

    Raises:
        socket.gaierror: there is none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def guarded_pools(
    policy: EgressPolicy, tls: ssl.SSLContext, *, look_up: Resolve = resolve, **options: Any
) -> PoolManager:
    """Connection pools whose every connection goes through the policy.

    Args:
        options: of urllib3's `PoolManager`.
    """

    def connect(connection: HTTPConnection) -> socket.socket:
        return _connect(connection, policy, look_up)

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    manager = PoolManager(ssl_context=tls, **options)
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
    return manager


def in_words(error: BaseException) -> str:
    """A failure in words: without the connection, pool and object addresses that the library's texts begin with."""
    cause = getattr(error, "reason", None) or error
    text = str(cause) or type(cause).__name__
    return _OBJECT.sub("", text.rpartition(">: ")[2])[:300]


def _connect(connection: HTTPConnection, policy: EgressPolicy, look_up: Resolve) -> socket.socket:
    host = connection.host
    try:
        addresses = look_up(host, connection.port)
    except (socket.gaierror, UnicodeError) as error:
        cause = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
        raise NameResolutionError(host, connection, cause) from error
    admitted, refusal = _admitted(addresses, host, policy)
    if not admitted:
        raise refusal or NewConnectionError(connection, f"{host} has no address")
    timeout = connection.timeout if isinstance(connection.timeout, int | float) else None
    last: OSError | None = None
    for address in admitted:
        try:
            made = socket.create_connection((address, connection.port), timeout)
        except OSError as error:
            last = error
        else:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return made
    if isinstance(last, TimeoutError):
        raise ConnectTimeoutError(f"no connection to {host} in {timeout} s") from last
    raise NewConnectionError(connection, f"no connection to {host}: {last}") from last


def _admitted(
    addresses: Sequence[str], host: str, policy: EgressPolicy
) -> tuple[list[str], AddressRefused | None]:
    admitted: list[str] = []
    refusal: AddressRefused | None = None
    for text in addresses:
        try:
            policy.admit_address(ip_address(text.partition("%")[0]), host)
        except AddressRefused as error:
            refusal = error
        else:
            admitted.append(text)
    return admitted, refusal
