"""The short way: what is known already, to whom it is known already, as the bytes of a whole answer.

Most requests for a mirror ask again for what was asked for a moment ago. These are answered by the connection itself,
without a task and without the application; whatever is out of the ordinary in a request takes the long way, which
decides everything by the same parts.
"""

from __future__ import annotations

import time

from stellaops.gateway import negotiation, traces
from stellaops.gateway.answers import Found, describing, etag
from stellaops.gateway.budgets import Spent
from stellaops.gateway.doorman import Caller
from stellaops.gateway.host import Host
from stellaops.gateway.plans import Plan, Plans
from stellaops.gateway.proxies import lasting, told_name
from stellaops.gateway.requests import Request, has_form, place_of
from stellaops.gateway.routes import Budget

_MOST_BLOCKS = 8192
_OK = b"HTTP/1.1 200 OK\r\n"
_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"
_NO_STORE = b"cache-control: no-store\r\n\r\n"
_NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\n"


class Shortcut:
    """Answers requests, or leaves them to the application without having done anything."""

    def __init__(self, host: Host, plans: Plans) -> None:
        self._host, self._plans = host, plans
        # The lines of a header; for which representation and plan they are stands with them.
        self._blocks: dict[tuple[int, int], tuple[Found, Plan, bytes]] = {}

    def answer(self, request: Request, date: bytes) -> bytes | None:
        """A whole answer; None for the long way.

        Args:
            date: the line of the header that tells the time.
        """
        began = time.perf_counter()
        asked, plan = request.headers, self._plans.known(request)
        if plan is None or plan.domain is None or plan.refused is not None or b"range" in asked:
            return None
        caller = self._caller(request, plan)
        if caller is None:
            return None
        codings = negotiation.accepted(asked.get(b"accept-encoding", b""))
        found = self._host.shelves.at_once(plan.wish, codings)
        if found is None or found.stored.body is None:
            return None
        spent = self._spent(plan, caller)
        if spent is not None and not spent.allowed:
            return None
        data = self._assembled(request, plan, found, spent, date)
        request.domain, request.kind, request.caller = plan.domain, plan.wish.budget.value, caller.name
        request.cache = found.cache
        self._noted(request, time.perf_counter() - began)
        return data

    def authorize(self, request: Request, date: bytes) -> bytes | None:
        """Tell a proxy of ours that its client may have what it asks for; None for the long way.

        What a proxy that keeps answers is told goes the long way: it seldom asks.

        Args:
            date: the line of the header that tells the time.
        """
        began = time.perf_counter()
        asked = request.headers
        request.path = asked.get(b"x-original-uri", b"")
        request.method = asked.get(b"x-original-method", b"GET").decode("latin-1")
        plan = self._plans.known(request)
        if plan is None or plan.domain is None or plan.refused is not None:
            return None
        if b"range" in asked or b"x-stella-lend" in asked or not self._is_here(request, plan):
            return None
        caller = self._caller(request, plan) if request.method in ("GET", "HEAD") else None
        spent = self._spent(plan, caller) if caller is not None else None
        if caller is None or (spent is not None and not spent.allowed):
            return None
        request.domain, request.kind, request.caller = plan.domain, plan.wish.budget.value, caller.name
        request.status, request.cache, request.is_of_proxy = 200, "PROXY", True
        told = plan.domain.encode(), plan.domain.encode(), told_name(self._host, plan, caller)
        about = b"x-stella-audience: %s\r\nx-stella-domain: %s\r\nx-stella-caller: %s\r\n" % told
        about += b"x-stella-class: %s\r\n" % request.kind.encode()
        about += b"".join(b"%s: %s\r\n" % line for line in lasting(self._host, plan))
        self._noted(request, time.perf_counter() - began)
        return b"".join((_NO_CONTENT, date, about, _rates(spent), _NO_STORE))

    def _noted(self, request: Request, seconds: float) -> None:
        traces.record(request, seconds)
        self._host.note(request, seconds)

    def _is_here(self, request: Request, plan: Plan) -> bool:
        """Whether what is asked for is known to be there, as far as this host has files."""
        if plan.wish.side not in self._host.shelves.trees:
            return True
        codings = negotiation.accepted(request.headers.get(b"accept-encoding", b""))
        return self._host.shelves.at_once(plan.wish, codings) is not None

    def _caller(self, request: Request, plan: Plan) -> Caller | None:
        if not plan.closed:
            return Caller(f"@{place_of(request.address)}", is_known=False)
        header = request.headers.get(b"authorization")
        if header is None or plan.domain is None:
            return None
        answer = self._host.doorman.known(plan.domain, plan.wish.side, header)
        return answer if isinstance(answer, Caller) else None

    def _spent(self, plan: Plan, caller: Caller) -> Spent | None:
        """What the budget says; one that says no, or nothing, leaves it to the long way, which counts by itself."""
        if not plan.limit or plan.wish.budget is Budget.FREE:
            return None
        spent = self._host.budgets.at_once(f"{plan.budget}/{caller.name}", plan.limit)
        return spent or Spent(False, plan.limit, 0, 0)

    def _assembled(
        self, request: Request, plan: Plan, found: Found, spent: Spent | None, date: bytes
    ) -> bytes:
        body = found.stored.body or b""
        known = request.headers.get(b"if-none-match")
        parts = [_OK, date, self._block(plan, found), _rates(spent)]
        if known is not None and negotiation.matches(etag(found.stored), known):
            request.status, parts[0] = 304, _NOT_MODIFIED
            parts.append(b"\r\n")
            return b"".join(parts)
        request.status = 200
        parts.append(b"content-length: %d\r\n\r\n" % len(body))
        if request.method != "HEAD":
            request.bytes = len(body)
            parts.append(body)
        return b"".join(parts)

    def _block(self, plan: Plan, found: Found) -> bytes:
        key = id(found), id(plan)
        known = self._blocks.get(key)
        if known is not None and known[0] is found and known[1] is plan:
            return known[2]
        lines = [*describing(found), *plan.headers, (b"x-cache-status", found.cache.encode())]
        block = b"".join(b"%s: %s\r\n" % line for line in lines)
        if len(self._blocks) >= _MOST_BLOCKS:
            self._blocks.clear()
        self._blocks[key] = found, plan, block
        return block


def _rates(spent: Spent | None) -> bytes:
    if spent is None:
        return b""
    told = spent.limit, spent.remaining, spent.reset
    return b"ratelimit-limit: %d\r\nratelimit-remaining: %d\r\nratelimit-reset: %d\r\n" % told


def is_plain(request: Request, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a request is one that may take the short way."""
    return request.method in ("GET", "HEAD") and has_form(request, headers)
