"""The gateway as an ASGI application: what is wished for, and which part of the gateway answers it.

Written on ASGI itself: what is known already is answered in one go, without a thread, a lock or a look at the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from stellaops.core.egress import Network
from stellaops.core.errors import StellaError
from stellaops.gateway import negotiation
from stellaops.gateway.answers import Headers, Refused, problem
from stellaops.gateway.decisions import Decisions
from stellaops.gateway.doorman import Caller
from stellaops.gateway.errors import MirrorForbidden, MirrorNotReady
from stellaops.gateway.front_page import FrontPage, wants_page
from stellaops.gateway.giving import Giving
from stellaops.gateway.host import Host
from stellaops.gateway.plans import Plan, Plans, caching
from stellaops.gateway.proxies import Proxies
from stellaops.gateway.requests import OF_PROXIES, Request, demand_form, is_within, read_request, respond
from stellaops.gateway.routes import Budget, Kind
from stellaops.gateway.shortcut import Shortcut
from stellaops.gateway.traces import LOOKED_AT, trace_of, traced


class Gateway:
    """The application.

    Args:
        host: what it serves, to whom; it may be loaded anew at any time.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._plans = Plans(host)
        self._decisions = Decisions(host)
        self._proxies = Proxies(host, self._plans, self._decisions)
        self._giving = Giving(self._decisions)
        self._front = FrontPage(self, self._titles)
        self.shortcut = Shortcut(host, self._plans)

    @property
    def trusted_proxies(self) -> Sequence[Network]:
        """Whose word about addresses counts."""
        return self._host.trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._host.begin()
            else:
                await self._host.end()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _http(self, scope: Scope, send: Send) -> None:
        began = time.perf_counter()
        request = read_request(scope, self._host.trusted_proxies)
        try:
            with traced(request):
                await self._answered(request, scope, send)
        finally:
            self._host.note(request, time.perf_counter() - began)

    async def _answered(self, request: Request, scope: Scope, send: Send) -> None:
        """Answer; what refuses, and what goes wrong before the answer has begun, is an answer too."""
        try:
            await self._answer(request, scope, send)
        except Refused as error:
            if request.has_begun:
                raise
            await self._refuse(request, error, send)
        except (OSError, StellaError) as error:
            self._host.failed(error)
            if request.has_begun:
                raise
            text = "the mirror cannot be read just now"
            await self._refuse(request, Refused(503, MirrorNotReady(text), [(b"retry-after", b"5")]), send)

    async def _answer(self, request: Request, scope: Scope, send: Send) -> None:
        demand_form(request, scope)
        if request.path in LOOKED_AT:
            await self._about_us(request, scope, send)
            return
        if wants_page(request):
            status, headers, body = await self._front.page(request, scope)
            await respond(send, status, [*headers, (b"content-length", b"%d" % len(body))], body, request)
            return
        if request.path in OF_PROXIES:
            await self._proxies.answer(request, scope, send)
            return
        plan = self._plans.plan(request)
        request.domain = plan.domain if plan.domain and plan.domain in self._host.domains else "-"
        request.kind = plan.wish.budget.value if plan.wish.budget is not Budget.FREE else "other"
        if plan.refused is not None:  # a copy: an error gathers a trace each time that it is raised
            raise Refused(plan.refused.status, plan.refused.error, plan.refused.headers)
        if plan.domain is None:
            await self._for_many(request, plan, send)
            return
        caller = await self._decisions.caller(request, plan.wish.side, plan.domain, closed=plan.closed)
        request.caller = caller.name
        codings = negotiation.accepted(request.headers.get(b"accept-encoding", b""))
        found = self._host.shelves.at_once(plan.wish, codings)
        found = found or await self._decisions.find(request, plan, codings)
        await self._giving.give(request, plan, caller, found, send)

    # What they get

    async def _for_many(self, request: Request, plan: Plan, send: Send) -> None:
        """Answers that depend on which domains the caller may read."""
        host, wish = self._host, plan.wish
        named = host.domain_of(request.host)
        domains = [named] if named else list(host.domains)
        if wish.kind is Kind.POLICY:
            await self._policy(request, plan, domains, send)
            return
        readable, caller = await self._decisions.audience(request, plan)
        if wish.kind is Kind.OCI_BASE:
            told = [(b"content-length", b"2"), (b"content-type", b"application/json"), *_REGISTRY]
            await respond(send, 200, told, b"{}", request)
            return
        found = await self._decisions.index(request, wish, readable)
        closed = any(host.is_closed("concelier", each) for each in domains)
        headers = caching(wish, closed=closed, keyed=host.keyed_cache)
        plan = Plan(wish, named or "-", closed, plan.limit, plan.budget, headers)
        await self._giving.give(request, plan, caller, found, send)

    async def _policy(self, request: Request, plan: Plan, domains: Sequence[str], send: Send) -> None:
        readable: list[str] = []
        request.domain = self._host.domain_of(request.host) or "-"
        try:
            readable, request.caller = await self._decisions.readable(request, "", domains)
        except Refused:
            if b"authorization" in request.headers:
                raise
        found = self._host.shelves.rendered(self._host.policy(readable))
        headers = [(b"cache-control", b"no-cache"), (b"vary", b"Authorization")]
        await self._giving.give(
            request, Plan(plan.wish, "-", False, 0, "", headers), Caller(request.caller), found, send
        )

    def _titles(self, host: str) -> dict[str, tuple[str, bool]]:
        """The domains that a host name leads to, as `FrontPage` wants them."""
        named = self._host.domain_of(host)
        domains = [self._host.domains[named]] if named else self._host.domains.values()
        return {each.id: (each.display_name, self._host.is_closed("", each.id)) for each in domains}

    async def _refuse(self, request: Request, refused: Refused, send: Send) -> None:
        request.error_code = refused.error.code
        body, headers = problem(refused, registry=request.is_registry, trace=trace_of(request))
        if refused.status == 400:
            headers.append((b"connection", b"close"))
        await respond(send, refused.status, headers, body, request)

    async def _about_us(self, request: Request, scope: Scope, send: Send) -> None:
        """Health, readiness and metrics, the last for those who are near."""
        client = scope.get("client")
        if request.path == b"/metrics" and not is_within(
            client[0] if client else "", self._host.metrics_from
        ):
            refused = MirrorForbidden(
                "metrics are for addresses of GATEWAY__METRICSFROM",
                hint="Have the network of Prometheus named in GATEWAY__METRICSFROM of this mirror host.",
            )
            raise Refused(403, refused)
        status, media, body = await asyncio.to_thread(self._host.about, request.path)
        headers = [
            (b"content-type", media.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        await respond(send, status, headers, body, request)


_REGISTRY: Headers = [(b"docker-distribution-api-version", b"registry/2.0"), (b"cache-control", b"no-store")]
