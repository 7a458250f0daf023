"""The API as one ASGI application."""

from __future__ import annotations

import time
from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from stellaops.adapters.settings.load import Settings
from stellaops.adapters.sql.idempotency import SqlIdempotency
from stellaops.adapters.telemetry.metrics import Metrics
from stellaops.api.frame.dispatch import Dispatcher
from stellaops.api.frame.limits import Limits
from stellaops.api.frame.mutating import Mutations
from stellaops.api.frame.reading import sweep_incoming
from stellaops.api.frame.routing import Routes
from stellaops.api.operation import Operation
from stellaops.api.registry import operations
from stellaops.api.watching import Watching
from stellaops.bootstrap import Local, now


def limits_of(settings: Settings) -> Limits:
    """The limits that the settings ask for."""
    return Limits(
        body=settings.number("api.maxBody"),
        upload=settings.number("api.maxUpload"),
        requests_per_minute=settings.number("api.requestsPerMinute"),
        # Beside the place where imports keep them, so that a rename is enough.
        incoming=settings.data_dir / "uploads",
    )


class App:
    """The application; `scope["app"]` of every request.

    Attributes:
        watching: the streams of events; whoever stops the server closes it first.
        metrics: what `/metrics` says.
    """

    def __init__(self, local: Local, dispatcher: Dispatcher) -> None:
        self.local = local
        self.watching = Watching(local.runs)
        self.metrics = Metrics(local.watched)
        self._dispatcher = dispatcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http":
            scope["app"] = self
            await self._dispatcher(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:  # a websocket; there are none here
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": ""})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                sweep_incoming(self.local.data_dir / "uploads", time.time())
                await send({"type": "lifespan.startup.complete"})
            else:
                self.watching.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def create_app(local: Local, limits: Limits | None = None, table: Sequence[Operation] | None = None) -> App:
    """The API on one installation.

    Args:
        limits: those of the settings when None.
        table: the operations; all of them when None.
    """
    # Opened here once, not by the first requests, which come in several threads.
    _ = local.evidence, local.profiles, local.artefacts, local.tenants, local.queue, local.access
    _ = local.notify_providers, local.notify_limits
    routes = Routes(operations() if table is None else table)
    mutations = Mutations(SqlIdempotency(local.service_engine), local.audit.add, now)
    return App(
        local, Dispatcher(local, routes, limits_of(local.settings) if limits is None else limits, mutations)
    )
