"""A mirror host as a process: uvicorn on a socket, loaded anew by SIGHUP or by changed files, ended by SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket

import uvicorn

from stellaops.adapters.telemetry import tracing
from stellaops.gateway.app import Gateway
from stellaops.gateway.certificates import Certificates
from stellaops.gateway.host import Host
from stellaops.gateway.protocol import GatewayProtocol

_LOG = logging.getLogger("stellaops.gateway")
_GRACE = 10  # seconds that downloads under way get when the process is asked to end
_SWEEP = 10  # ticks of a tenth of a second between two looks at slow clients


class Server(uvicorn.Server):
    """Loads the host anew on SIGHUP."""

    def __init__(self, config: uvicorn.Config, host: Host) -> None:
        super().__init__(config)
        self._host = host
        self._reloads: set[asyncio.Task[bool]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    async def on_tick(self, counter: int) -> bool:
        """See uvicorn: ten times a second."""
        if counter % _SWEEP == 0:
            now = asyncio.get_running_loop().time()
            for each in list(self.server_state.connections):
                if isinstance(each, GatewayProtocol):
                    each.sweep(now)
        return await super().on_tick(counter)

    def _reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._host.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)


def serve(host: Host, listening: socket.socket, *, plain: bool = False) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        plain: without TLS, whatever certificates the settings name.

    Raises:
        CertificateUnusable, TelemetryExtraMissing: see there.
    """
    tracing.configure(f"stellaops-{'gateway' if len(host.sides) > 1 else next(iter(host.sides))}")
    certificates = None if plain else Certificates(host.settings)
    if certificates is not None:
        host.on_reload = certificates.load
    config = uvicorn.Config(
        Gateway(host),
        lifespan="on",
        loop="uvloop",
        proxy_headers=False,  # GATEWAY__TRUSTEDPROXIES says who is believed
        http=GatewayProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=_GRACE,
        ws="none",
    )
    config.load()
    config.ssl = certificates.context if certificates is not None else None
    # uvicorn ends cleanly, then raises the signal again for whoever was there before it: that is no failure here.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    address, port = listening.getsockname()[:2]
    scheme = "https" if config.ssl else "http"
    text = "%s listens on %s://%s:%s"
    _LOG.info(text, " and ".join(host.sides), scheme, address, port, extra={"event": "mirror.started"})
    Server(config, host).run([listening])
    tracing.end()
    _LOG.info("the mirror host has ended", extra={"event": "mirror.ended"})
