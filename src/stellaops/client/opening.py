"""From settings and a saved server to a connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from urllib3 import PoolManager
from urllib3.connection import HTTPConnection

from stellaops.adapters.web.client import WebSettings, proxied, tls_context, without_proxy
from stellaops.client.connection import Connection, Tokens
from stellaops.client.contexts import Context
from stellaops.client.errors import LoginNeeded, ServerRefused
from stellaops.client.tokens import ClientTokens, GivenToken, NoLogin, TokenCache, secret_of
from stellaops.core.egress import Offline, Target, redacted, target_of
from stellaops.core.errors import InvalidInput, NotPermitted

# Answers to imports come late; a machine in between or the server itself may be gone without a word until then.
_KEPT_ALIVE = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
]


@dataclass(frozen=True)
class Login:
    """What a client proves itself with; the first that is there counts.

    Attributes:
        token: an access token.
        client: whose token is got with a secret, or is kept.
        secret: of the client; asked for when a token has to be got. None where only a token that is kept can be used.
    """

    token: str | None = None
    client: str | None = None
    secret: Callable[[], str] | None = None


def login_of(context: Context, token: str | None, client: str | None, secret_file: str | None) -> Login:
    """The login that is meant: an access token, a client of the settings, the saved server's."""
    chosen = client or context.client
    file = secret_file if client else secret_file or context.secret_file
    return Login(token, chosen, (lambda: secret_of(Path(file))) if file else None)


def connect(context: Context, login: Login, web: WebSettings, cache: TokenCache) -> Connection:
    """A connection to a server.

    Raises:
        ServerRefused: an address that secrets are not sent to.
        Offline: see there.
    """
    server = address(context.server, web)
    pools = pools_for(server, web)
    return Connection(server, pools, _tokens(server, login, pools, cache), context.tenant)


def address(text: str, web: WebSettings) -> str:
    """The server's address without a slash at its end.

    Raises:
        ServerRefused: no address of a server, or one without TLS on another machine.
        Offline: see there.
    """
    server = text.strip().rstrip("/")
    try:
        target = target_of(server)
    except (InvalidInput, NotPermitted) as error:
        raise ServerRefused(error.what) from None
    if any(mark in server for mark in "?#"):
        raise ServerRefused(f"{redacted(text)!r} has a query or a fragment")
    if web.policy.offline and not _is_here(target.host):
        raise Offline(f"{redacted(server)} is not asked: the product was told to stay offline")
    if target.scheme == "http" and not _is_here(target.host) and not _allowed(target, web):
        raise ServerRefused(f"{redacted(server)} is not protected by TLS, and tokens would go there")
    return server


def pools_for(server: str, web: WebSettings) -> PoolManager:
    """Connections to a server: through the proxy of the settings where it is not one of those without."""
    tls = tls_context(web.ca_file)
    target = target_of(server)
    options: dict[str, object] = {
        "maxsize": 8, "num_pools": 4, "retries": False, "blocksize": 1 << 18, "socket_options": _KEPT_ALIVE,
    }  # fmt: skip
    direct = _is_here(target.host) or without_proxy(target, web.no_proxy)
    found = None if direct else proxied(web, tls, options)
    return found or PoolManager(ssl_context=tls, **options)  # type: ignore[arg-type]


def _tokens(server: str, login: Login, pools: PoolManager, cache: TokenCache) -> Tokens:
    if login.token:
        return GivenToken(login.token)
    if login.client is None:
        return NoLogin(server)
    secret = login.secret or _no_secret(server, login.client)
    return ClientTokens(server, login.client, secret, pools=pools, cache=cache)


def _no_secret(server: str, client: str) -> Callable[[], str]:
    def missing() -> str:
        raise LoginNeeded(
            f"the token of client {client} for {redacted(server)} is over",
            hint=f"Log in again with `stella authority login --client {client}`.",
        )

    return missing


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _allowed(target: Target, web: WebSettings) -> bool:
    return target.host in web.policy.plain_hosts or f"{target.host}:{target.port}" in web.policy.plain_hosts
