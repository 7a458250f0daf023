"""A guard: no test's own process reaches beyond this machine."""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Any

import pytest

_WATCHED = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}
_LOCAL_NAMES = {"localhost", "localhost.localdomain", "ip6-localhost", "", None}


def is_local(host: object) -> bool:
    """Whether a host name or address stays on this machine."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in _LOCAL_NAMES or (isinstance(host, str) and host.endswith(".localhost")):
        return True
    try:
        address = ipaddress.ip_address(str(host).split("%", 1)[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _host(event: str, arguments: tuple[Any, ...]) -> object:
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        return arguments[0]
    connection, address = arguments[0], arguments[1]
    if address is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return "localhost"
    return address[0]


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _WATCHED:
        host = _host(event, arguments)
        if not is_local(host):
            # Not an OSError: code that retries or tolerates a network failure must not swallow this.
            pytest.fail(f"a test tried to reach {host!r}: tests stay on this machine")


def forbid() -> None:
    """From now on, for this process, every connection or look-up that would leave the machine fails the test."""
    sys.addaudithook(_watch)
