"""What proxies of ours ask: whether their client may have what it asks for, and what to keep of that.

A proxy that counts for itself (nginx with Lua) is lent blocks of budgets, gives back what it has not used, and hears
whether anything has changed. It is believed because of its address; so a request that somebody has sent on
is none of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from urllib.parse import quote, unquote

from starlette.types import Scope, Send

from stellaops.gateway import negotiation
from stellaops.gateway.answers import Found, Headers, Refused, etag, problem
from stellaops.gateway.decisions import Decisions, budget_name
from stellaops.gateway.doorman import GOOD_SECONDS, Caller
from stellaops.gateway.errors import MirrorMethod, MirrorNotFound, MirrorRequest
from stellaops.gateway.host import Host
from stellaops.gateway.plans import Plan, Plans
from stellaops.gateway.requests import AUTHORIZE, Request, is_within, respond
from stellaops.gateway.routes import Budget, Kind
from stellaops.gateway.traces import trace_of

OPEN_SECONDS = 5
"""For which a proxy need not ask about what is open to all."""
_FORWARDED = (b"x-forwarded-for", b"forwarded", b"via")
_RETURN = re.compile(r"(\d{1,9}) (\d{1,7}) (\S{1,1024})", re.ASCII)


class Proxies:
    """Answers proxies of a host."""

    def __init__(self, host: Host, plans: Plans, decisions: Decisions) -> None:
        self._host, self._plans, self._decisions = host, plans, decisions

    async def answer(self, request: Request, scope: Scope, send: Send) -> None:
        """Answer, where a proxy of ours asks; to others there is nothing here.

        Raises:
            Refused: see there.
        """
        client = scope.get("client")
        if not is_within(client[0] if client else "", self._host.trusted_proxies):
            raise Refused(404, MirrorNotFound("there is no such path here"))
        if request.path == AUTHORIZE:
            await self._authorize(request, send)
        else:
            await self._exchange(request, scope["headers"], send)

    async def _authorize(self, request: Request, send: Send) -> None:
        """Tell who the client is, and count the request; what is given the proxy has itself.

        Proxies understand 401 and 403 alone, so that every other refusal comes as 403 and says what it is in a header.
        """
        uri = request.headers.get(b"x-original-uri")
        if uri is None:
            raise Refused(404, MirrorNotFound("there is no such path here"))
        request.path, request.is_of_proxy = uri, True
        request.method = request.headers.get(b"x-original-method", b"GET").decode("latin-1")
        headers: Headers
        try:
            headers = await self._permitted(request)
            status, told, request.cache = 204, 200, "PROXY"
        except Refused as refused:
            status, told = 401 if refused.status == 401 else 403, refused.status
            headers = _refusing(request, refused)
        headers += [
            (b"cache-control", b"no-store"),
            (b"x-stella-domain", request.domain.encode()),
            (b"x-stella-class", request.kind.encode()),
            (b"x-stella-state", self._host.state.encode()),
        ]
        await respond(send, status, headers, b"", request)
        request.status = told

    async def _permitted(self, request: Request) -> Headers:
        """The headers for a client of a proxy that may have what it asks for.

        Raises:
            Refused: it may not, or it is not there.
        """
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, MirrorMethod("mirrors are only read"), [(b"allow", b"GET, HEAD")])
        plan = self._plans.plan(request)
        if plan.refused is not None:
            raise Refused(plan.refused.status, plan.refused.error)
        wish, decisions = plan.wish, self._decisions
        request.kind = wish.budget.value if wish.budget is not Budget.FREE else "other"
        tag = b""
        if plan.domain is not None:
            request.domain = plan.domain if plan.domain in self._host.domains else "-"
            caller = await decisions.caller(request, wish.side, plan.domain, closed=plan.closed)
            readable, tag = [plan.domain], await self._tag(request, plan)
        elif wish.kind is Kind.POLICY:
            caller, readable = Caller(""), []
        else:
            readable, caller = await decisions.audience(request, plan)
            if wish.kind is Kind.INDEX and wish.side in self._host.shelves.trees:
                tag = self._part_of(request, await decisions.index(request, wish, readable))
        request.caller = caller.name
        rates = await decisions.spend(request, plan, caller, tag)
        return [
            (b"x-stella-audience", "+".join(readable).encode()),
            (b"x-stella-caller", told_name(self._host, plan, caller)),
            *rates,
            *lasting(self._host, plan),
            *await self._ticket(request, plan, caller, readable),
        ]

    async def _tag(self, request: Request, plan: Plan) -> bytes:
        """The entity tag of the file that a part is asked of; empty for the whole.

        Raises:
            Refused: there is no such file, as far as this host has files; or no such part.
        """
        shelves, wish = self._host.shelves, plan.wish
        if wish.side in shelves.trees:
            codings = negotiation.accepted(request.headers.get(b"accept-encoding", b""))
            found = shelves.at_once(wish, codings) or await self._decisions.find(request, plan, codings)
            return self._part_of(request, found)
        if b"range" not in request.headers:
            return b""
        if not shelves.has_back_end(wish.side):
            return request.path  # nobody here knows entity tags; a path stands in for them
        return await self._decisions.tag_asked(request, wish)

    def _part_of(self, request: Request, found: Found) -> bytes:
        _, part = self._decisions.part(request, found)
        return etag(found.stored) if part else b""

    async def _ticket(self, request: Request, plan: Plan, caller: Caller, readable: Sequence[str]) -> Headers:
        """For a proxy that keeps what it hears: for how long, and what it may count by itself."""
        asked = request.headers.get(b"x-stella-lend")
        if asked is None:
            return []
        seconds = self._seconds(request, plan, readable)
        name = budget_name(plan, caller)
        if name is None:
            return [(b"x-stella-ticket", b"%d" % seconds)]
        lends = asked == b"1" and b"range" not in request.headers
        told = await self._host.budgets.lend(name, plan.limit, nothing=not lends)
        return [
            (b"x-stella-ticket", b"%d" % seconds),
            (b"x-stella-budget", quote(name, safe="").encode()),
            (b"x-stella-block", b"%d %d %d" % told),
        ]

    def _seconds(self, request: Request, plan: Plan, readable: Sequence[str]) -> int:
        """For how long it is known that the caller is let in."""
        header, side = request.headers.get(b"authorization"), plan.wish.side
        closed = [each for each in readable if self._host.is_closed(side, each)]
        if not closed or header is None:
            return int(GOOD_SECONDS)
        return max(0, int(min(self._host.doorman.seconds_left(each, side, header) for each in closed)))

    async def _exchange(self, request: Request, headers: Sequence[tuple[bytes, bytes]], send: Send) -> None:
        """Take back what a proxy was lent, and tell it by which settings and users things are decided.

        Raises:
            Refused: the request was sent on by somebody, or is not in a form that is understood.
        """
        if any(name in request.headers for name in _FORWARDED):
            raise Refused(404, MirrorNotFound("there is no such path here"))
        for name, value in headers:
            if name == b"x-stella-return":
                hour, number, budget = _returned(value)
                await self._host.budgets.take_back(budget, hour, number)
        told = [(b"cache-control", b"no-store"), (b"x-stella-state", self._host.state.encode())]
        await respond(send, 204, told, b"", request)


def lasting(host: Host, plan: Plan) -> Headers:
    """For how long a proxy need not ask again: where everybody may have it, and who asks is counted by nobody here."""
    if not host.follows_log or plan.domain is None or plan.closed or plan.limit:
        return []
    return [(b"x-accel-expires", b"%d" % OPEN_SECONDS)]


def told_name(host: Host, plan: Plan, caller: Caller) -> bytes:
    """Who asks, for the proxy's log; the address of somebody who is let in as anybody is it knows itself."""
    return b"" if lasting(host, plan) else caller.name.encode("ascii", "replace")


def _returned(value: bytes) -> tuple[int, int, str]:
    """Hour, number and name of a budget that is given back.

    Raises:
        Refused: it is none.
    """
    found = _RETURN.fullmatch(value.decode("latin-1"))
    if found is None:
        raise Refused(400, MirrorRequest("what is given back has to be an hour, a number and a name"))
    return int(found[1]), int(found[2]), unquote(found[3])


def _refusing(request: Request, refused: Refused) -> Headers:
    """The headers that tell a proxy what to tell its client; with the whole body of the answer."""
    body, _ = problem(refused, registry=request.is_registry, trace=trace_of(request))
    return [
        (b"x-stella-status", b"%d" % refused.status),
        (b"x-stella-code", refused.error.code.encode()),
        (b"x-stella-problem", json.dumps(json.loads(body), separators=(",", ":")).encode("ascii")),
        *refused.headers,
    ]
