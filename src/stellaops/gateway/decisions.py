"""What is decided about a request: who asks, whether it is let in, what it gets, and whether its budget has room.

The application and what proxies ask decide by the same parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from stellaops.core.byte_ranges import Unsatisfiable
from stellaops.gateway import negotiation, traces
from stellaops.gateway.answers import Found, Headers, Refused, etag
from stellaops.gateway.budgets import Spent
from stellaops.gateway.doorman import Answer, Caller, Refusal
from stellaops.gateway.errors import (
    MirrorBusy,
    MirrorCredentials,
    MirrorForbidden,
    MirrorNotFound,
    MirrorNotReady,
    MirrorQuota,
    MirrorRange,
)
from stellaops.gateway.host import Host
from stellaops.gateway.plans import Plan
from stellaops.gateway.requests import Request, place_of
from stellaops.gateway.routes import Budget, Kind, Wish


class Decisions:
    """Decides for a host, which may be loaded anew at any time."""

    def __init__(self, host: Host) -> None:
        self._host = host

    # Who asks

    async def caller(self, request: Request, side: str, domain: str, *, closed: bool) -> Caller:
        """Who asks; anybody where the domain is open.

        Raises:
            Refused: not let in.
        """
        header = request.headers.get(b"authorization")
        if not closed:
            return Caller(f"@{place_of(request.address)}", is_known=False)
        if header is None:
            raise self.refusal(request, domain, Refusal(401, "missing"))
        doorman = self._host.doorman
        answer: Answer | None = doorman.known(domain, side, header)
        if answer is None:
            answer = await doorman.check(domain, side, header, request.address)
        if isinstance(answer, Refusal):
            raise self.refusal(request, domain, answer)
        return answer

    def refusal(self, request: Request, domain: str | None, answer: Refusal) -> Refused:
        """What somebody is told who is not let in."""
        match answer.status:
            case 401:
                told = {"missing": "credentials are needed here", "expired": "these credentials have expired"}
                text = told.get(answer.reason, "these credentials do not hold here")
                return Refused(401, MirrorCredentials(text), self._challenge(request, domain))
            case 403:
                return Refused(403, MirrorForbidden("the access token does not open this mirror"))
            case 503:
                return Refused(
                    503, MirrorNotReady("access tokens cannot be checked just now"), [(b"retry-after", b"5")]
                )
        after = [(b"retry-after", str(answer.retry_after).encode())]
        return Refused(429, MirrorBusy("too many credentials were wrong, or wait to be checked"), after)

    def _challenge(self, request: Request, domain: str | None) -> Headers:
        basic = (b"www-authenticate", f'Basic realm="{domain or "mirror"}", charset="UTF-8"'.encode())
        if request.is_registry or not self._host.takes_tokens:
            return [basic]  # a client of a registry would ask a realm for tokens
        return [basic, (b"www-authenticate", f'Bearer realm="{domain or "mirror"}"'.encode())]

    async def audience(self, request: Request, plan: Plan) -> tuple[list[str], Caller]:
        """For answers that depend on which domains the caller may read: those, and who asks.

        Raises:
            Refused: there is none; or the credentials hold nowhere.
        """
        host, wish = self._host, plan.wish
        named = host.domain_of(request.host)
        domains = [named] if named else list(host.domains)
        request.domain = named or "-"
        readable, name = await self.readable(request, wish.side, domains)
        is_unknown = b"authorization" not in request.headers
        if wish.kind is Kind.OCI_BASE and is_unknown and len(readable) < len(domains):
            raise self.refusal(request, named, Refusal(401, "missing"))
        request.caller = name
        return readable, Caller(name)

    async def readable(self, request: Request, side: str, domains: Sequence[str]) -> tuple[list[str], str]:
        """The domains that the caller may read, and the caller's name.

        Raises:
            Refused: there is none; or the credentials hold nowhere.
        """
        header, host = request.headers.get(b"authorization"), self._host
        open_ones = [each for each in domains if not host.is_closed(side, each)]
        closed = [each for each in domains if each not in open_ones]
        if header is None or not closed:
            if not open_ones and domains:
                raise self.refusal(request, only(domains), Refusal(401, "missing"))
            return open_ones, f"@{place_of(request.address)}"
        name, worst = "", Refusal(401, "wrong")
        readable = []
        for each in closed:
            answer = host.doorman.known(each, side, header)
            if answer is None:
                answer = await host.doorman.check(each, side, header, request.address)
            if isinstance(answer, Caller):
                name = answer.name
                readable.append(each)
            elif answer.status != 401:
                worst = answer
        if not readable:
            raise self.refusal(request, only(domains), worst)
        return sorted([*open_ones, *readable]), name

    # What they get

    async def find(self, request: Request, plan: Plan, codings: Sequence[str]) -> Found:
        """What is wished for, from disk.

        Raises:
            Refused: it is not there.
        """
        base = self._host.public_base_url or f"{request.scheme}://{request.host_and_port}"
        shelves, wish = self._host.shelves, plan.wish
        if not shelves.has_back_end(wish.side):
            found = await self._sought(wish, lambda: shelves.find(wish, codings, base))
        elif wish.kind is Kind.VEX_MANIFEST:
            found = shelves.vex_manifest(wish, base)
        else:
            path, headers = request.path.decode("latin-1"), forwarded(request)
            found = await self._sought(wish, lambda: shelves.asked(wish, codings, path, headers))
        if found is None:
            raise Refused(404, MirrorNotFound("there is no such file"))
        return found

    async def index(self, request: Request, wish: Wish, readable: Sequence[str]) -> Found:
        """Concelier's index, with these domains.

        Raises:
            Refused: it is not there.
        """
        shelves = self._host.shelves
        if shelves.has_back_end(wish.side):
            path, told = request.path.decode("latin-1"), forwarded(request)
            found = await self._sought(wish, lambda: shelves.index_asked(wish, path, told, readable))
        else:
            found = await self._sought(wish, lambda: shelves.index(wish.export, readable))
        if found is None:
            raise Refused(404, MirrorNotFound("there is no such export"))
        return found

    async def tag_asked(self, request: Request, wish: Wish) -> bytes:
        """The entity tag of a file, from the back end of its side; the path where that does not say.

        Raises:
            BackEndAway: see there.
        """
        path, headers = request.path.decode("latin-1"), forwarded(request)
        told = {**headers, "accept-encoding": request.headers.get(b"accept-encoding", b"").decode("latin-1")}
        found = await asyncio.to_thread(self._host.shelves.tag_asked, wish, path, told)
        return found.encode("latin-1") or request.path

    def part(self, request: Request, found: Found) -> tuple[bool, tuple[int, int] | None]:
        """Whether the caller has it already; else the part that it asks for, None for the whole.

        Raises:
            Refused: no part of it is asked for.
        """
        asked, tag = request.headers, etag(found.stored)
        if b"if-none-match" in asked and negotiation.matches(tag, asked[b"if-none-match"]):
            return True, None
        if b"range" not in asked:
            return False, None
        size = found.stored.size
        try:
            return False, negotiation.wanted_range(asked[b"range"], asked.get(b"if-range", b""), size, tag)
        except Unsatisfiable:
            told = [(b"content-range", b"bytes */%d" % size)]
            raise Refused(416, MirrorRange(f"the file has {size:,} bytes"), told) from None

    async def _sought(self, wish: Wish, find: Callable[[], Found | None]) -> Found | None:
        try:
            return await asyncio.to_thread(find)
        except LookupError:
            text = f"there is no export of {wish.side} to serve"
            raise Refused(503, MirrorNotReady(text), [(b"retry-after", b"30")]) from None

    async def spend(self, request: Request, plan: Plan, caller: Caller, tag: bytes) -> Headers:
        """Count the request in its budget; the headers that tell how much is left.

        Args:
            tag: entity tag of the file that a part is asked of; empty for the whole.

        Raises:
            Refused: nothing is.
        """
        name = budget_name(plan, caller)
        if name is None:
            return []
        budgets = self._host.budgets
        if tag and await budgets.is_free_part(name, tag.decode()):
            return []
        spent = budgets.at_once(name, plan.limit) or await budgets.spend(name, plan.limit)
        if spent.allowed:
            return rates(spent)
        self._host.rejected(request, plan.domain or "-")
        after = [(b"retry-after", b"%d" % spent.reset), *rates(spent)]
        raise Refused(429, MirrorQuota(f"more than {spent.limit:,} requests in an hour"), after)


def budget_name(plan: Plan, caller: Caller) -> str | None:
    """The budget that a request is counted in; None where it is in none."""
    if not plan.limit or plan.wish.budget is Budget.FREE:
        return None
    return f"{plan.budget}/{caller.name}"


def forwarded(request: Request) -> dict[str, str]:
    """What a back end is told of who asks: it checks credentials by itself."""
    told = {"x-forwarded-for": request.address, "x-forwarded-proto": request.scheme}
    credentials, trace = request.headers.get(b"authorization"), traces.context(request)
    if credentials is not None:
        told["authorization"] = credentials.decode("latin-1")
    return {**told, "traceparent": trace} if trace else told


def rates(spent: Spent) -> Headers:
    """How much of a budget is left."""
    return [
        (b"ratelimit-limit", b"%d" % spent.limit),
        (b"ratelimit-remaining", b"%d" % spent.remaining),
        (b"ratelimit-reset", b"%d" % spent.reset),
    ]


def only(domains: Sequence[str]) -> str | None:
    """The one domain, where there is just one."""
    return domains[0] if len(domains) == 1 else None
