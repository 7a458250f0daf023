"""The API as a process: uvicorn on a socket, ended cleanly by SIGTERM."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from stellaops.adapters.telemetry import tracing
from stellaops.api.app import App, create_app
from stellaops.bootstrap import Local
from stellaops.core.errors import MissingPrerequisite

_LOG = logging.getLogger("stellaops.api")
_GRACE = 10  # seconds that requests under way get when the process is asked to end
_LARGEST_HEAD = 64 << 10  # bytes of a request line and its header fields
_BACKLOG = 2048


class AddressUnavailable(MissingPrerequisite):
    """The address to listen on is taken, or is not one of this machine."""

    code = "ERR_ADDRESS_UNAVAILABLE"
    hint = "Choose another --host or --port, or end what listens there."


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 is one that is free.

    Raises:
        AddressUnavailable: see there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, asyncio sends small answers at once (TCP_NODELAY) instead of 40 ms later.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise AddressUnavailable(f"{host}:{port}: {error.strerror or error}") from error
    return found


def _is_own(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Server(uvicorn.Server):
    """Ends the streams of events first, which would else hold the process up."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._application = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._application.watching.close()
        await super().shutdown(sockets)


def serve(
    local: Local,
    listening: socket.socket,
    certificate: tuple[Path, Path] | None = None,
    before: Callable[[App], ASGIApp] = lambda app: app,
) -> None:
    """Serve the API until SIGTERM or SIGINT.

    Args:
        certificate: files of the certificate chain and its key, for TLS.
        before: gives what answers before the API does, and lets it answer the rest.
    """
    tracing.configure("stellaops-api")
    app = create_app(local)
    chain, key = certificate or (None, None)
    config = uvicorn.Config(
        before(app),
        http="h11",  # bounds the head of a request, which httptools does not
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=60,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
        ws="none",
        ssl_certfile=chain,
        ssl_keyfile=key,
    )
    # uvicorn ends cleanly, then raises the signal again for whoever was there before it: that is no failure here.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    host, port = listening.getsockname()[:2]
    _LOG.info("the API listens on %s:%s", host, port, extra={"event": "api.started"})
    if certificate is None and not _is_own(host):
        _LOG.warning(
            "tokens and secrets come in without TLS: give a certificate, or let a proxy end it before here"
        )
    Server(config, app).run([listening])
    tracing.end()
    _LOG.info("the API has ended", extra={"event": "api.ended"})
