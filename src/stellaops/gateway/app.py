"""The gateway as an ASGI application: who asks, whether there is budget left, and what they get.

Written on ASGI itself: what is known already is answered in one go, without a thread, a lock or a look at the disk.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence

from starlette.types import Receive, Scope, Send

from stellaops.adapters.files.export_trees import read_now
from stellaops.core.byte_ranges import Unsatisfiable
from stellaops.core.egress import Network
from stellaops.core.errors import StellaError
from stellaops.gateway import negotiation
from stellaops.gateway.answers import Found, Headers, Refused, describing, etag, problem
from stellaops.gateway.budgets import Spent
from stellaops.gateway.doorman import Answer, Caller, Refusal
from stellaops.gateway.errors import (
    MirrorBusy,
    MirrorCredentials,
    MirrorForbidden,
    MirrorMethod,
    MirrorNotFound,
    MirrorNotReady,
    MirrorQuota,
    MirrorRange,
)
from stellaops.gateway.host import Host
from stellaops.gateway.plans import Plan, Plans, caching
from stellaops.gateway.requests import AUTHORIZE, Request, demand_form, is_within, place_of, read_request
from stellaops.gateway.routes import Budget, Kind, Wish
from stellaops.gateway.shortcut import Shortcut

_PIECE = 1 << 20
_PARTING = 0.05
_STALLED = 60.0  # seconds in which a client takes nothing of an answer
_ABOUT_US = (b"/healthz", b"/readyz", b"/metrics")


class Gateway:
    """The application.

    Args:
        host: what it serves, to whom; it may be loaded anew at any time.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._plans = Plans(host)
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
        finally:
            self._host.note(request, time.perf_counter() - began)

    async def _answer(self, request: Request, scope: Scope, send: Send) -> None:
        demand_form(request, scope)
        if request.path in _ABOUT_US:
            await self._about_us(request, scope, send)
            return
        if request.path == AUTHORIZE:
            await self._authorize(request, scope, send)
            return
        plan = self._plans.plan(request)
        request.domain = plan.domain if plan.domain and plan.domain in self._host.domains else "-"
        request.kind = plan.wish.budget.value if plan.wish.budget is not Budget.FREE else "other"
        if plan.refused is not None:  # a copy: an error gathers a trace each time that it is raised
            raise Refused(plan.refused.status, plan.refused.error, plan.refused.headers)
        if plan.domain is None:
            await self._for_many(request, plan, send)
            return
        caller = await self._caller(request, plan.wish.side, plan.domain, closed=plan.closed)
        request.caller = caller.name
        codings = negotiation.accepted(request.headers.get(b"accept-encoding", b""))
        found = self._host.shelves.at_once(plan.wish, codings) or await self._find(request, plan, codings)
        await self._give(request, plan, caller, found, send)

    # Who asks

    async def _caller(self, request: Request, side: str, domain: str, *, closed: bool) -> Caller:
        """Who asks; anybody where the domain is open.

        Raises:
            Refused: not let in.
        """
        header = request.headers.get(b"authorization")
        if not closed:
            return Caller(f"@{place_of(request.address)}", is_known=False)
        if header is None:
            raise self._refusal(request, domain, Refusal(401, "missing"))
        doorman = self._host.doorman
        answer: Answer | None = doorman.known(domain, side, header)
        if answer is None:
            answer = await doorman.check(domain, side, header, request.address)
        if isinstance(answer, Refusal):
            raise self._refusal(request, domain, answer)
        return answer

    def _refusal(self, request: Request, domain: str | None, answer: Refusal) -> Refused:
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

    async def _readable(self, request: Request, side: str, domains: Sequence[str]) -> tuple[list[str], str]:
        """The domains that the caller may read, and the caller's name.

        Raises:
            Refused: there is none; or the credentials hold nowhere.
        """
        header, host = request.headers.get(b"authorization"), self._host
        open_ones = [each for each in domains if not host.is_closed(side, each)]
        closed = [each for each in domains if each not in open_ones]
        if header is None or not closed:
            if not open_ones and domains:
                raise self._refusal(request, _one(domains), Refusal(401, "missing"))
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
            raise self._refusal(request, _one(domains), worst)
        return sorted([*open_ones, *readable]), name

    async def _authorize(self, request: Request, scope: Scope, send: Send) -> None:
        """Tell a proxy of ours who its client is, and count the request; what is given it has itself.

        Proxies understand 401 and 403 alone, so that every other refusal comes as 403 and says what it is in a header.
        """
        client = scope.get("client")
        uri = request.headers.get(b"x-original-uri")
        if uri is None or not is_within(client[0] if client else "", self._host.trusted_proxies):
            raise Refused(404, MirrorNotFound("there is no such path here"))
        request.path, request.method = (
            uri,
            request.headers.get(b"x-original-method", b"GET").decode("latin-1"),
        )
        headers: Headers
        try:
            status, headers = 204, await self._permitted(request)
            request.cache = "PROXY"
        except Refused as refused:
            status = 401 if refused.status == 401 else 403
            told = (
                (b"x-stella-status", b"%d" % refused.status),
                (b"x-stella-code", refused.error.code.encode()),
            )
            headers = [*told, *refused.headers]
        more = [(b"cache-control", b"no-store"), (b"x-stella-domain", request.domain.encode())]
        code = _refused_status(headers, status)
        await _send(send, status, [*headers, *more], b"", request)
        request.status = 200 if status == 204 else code

    async def _permitted(self, request: Request) -> Headers:
        """The headers for a client of a proxy that may have what it asks for.

        Raises:
            Refused: it may not.
        """
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, MirrorMethod("mirrors are only read"))
        plan = self._plans.plan(request)
        wish, host = plan.wish, self._host
        if plan.refused is not None:
            raise Refused(plan.refused.status, plan.refused.error)
        request.kind = wish.budget.value if wish.budget is not Budget.FREE else "other"
        named = host.domain_of(request.host)
        if plan.domain is not None:
            request.domain = plan.domain if plan.domain in host.domains else "-"
            caller = await self._caller(request, wish.side, plan.domain, closed=plan.closed)
            audience = plan.domain
        elif wish.kind is Kind.POLICY:
            caller, audience = Caller(""), ""
        else:
            domains = [named] if named else list(host.domains)
            request.domain = named or "-"
            readable, name = await self._readable(request, wish.side, domains)
            if (
                wish.kind is Kind.OCI_BASE
                and b"authorization" not in request.headers
                and len(readable) < len(domains)
            ):
                raise self._refusal(request, named, Refusal(401, "missing"))
            caller, audience = Caller(name), "+".join(readable)
        request.caller = caller.name
        # The proxy alone knows entity tags; a path stands in for them.
        rates = await self._spend(plan, caller, request.path if b"range" in request.headers else b"")
        about = [
            (b"x-stella-audience", audience.encode()),
            (b"x-stella-caller", caller.name.encode("ascii", "replace")),
        ]
        return [*about, *rates]

    # What they get

    async def _find(self, request: Request, plan: Plan, codings: Sequence[str]) -> Found:
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
            path, headers = request.path.decode("latin-1"), _forwarded(request)
            found = await self._sought(wish, lambda: shelves.asked(wish, codings, path, headers))
        if found is None:
            raise Refused(404, MirrorNotFound("there is no such file"))
        return found

    async def _sought(self, wish: Wish, find: Callable[[], Found | None]) -> Found | None:
        try:
            return await asyncio.to_thread(find)
        except LookupError:
            text = f"there is no export of {wish.side} to serve"
            raise Refused(503, MirrorNotReady(text), [(b"retry-after", b"30")]) from None

    async def _for_many(self, request: Request, plan: Plan, send: Send) -> None:
        """Answers that depend on which domains the caller may read."""
        host, wish = self._host, plan.wish
        named = host.domain_of(request.host)
        domains = [named] if named else list(host.domains)
        request.domain = named or "-"
        if wish.kind is Kind.POLICY:
            await self._policy(request, plan, domains, send)
            return
        readable, name = await self._readable(request, wish.side, domains)
        if wish.kind is Kind.OCI_BASE:
            if request.headers.get(b"authorization") is None and len(readable) < len(domains):
                raise self._refusal(request, named, Refusal(401, "missing"))
            await _send(
                send,
                200,
                [(b"content-length", b"2"), (b"content-type", b"application/json"), *_REGISTRY],
                b"{}",
                request,
            )
            return
        request.caller = name
        if host.shelves.has_back_end("concelier"):
            path, told = request.path.decode("latin-1"), _forwarded(request)
            found = await self._sought(wish, lambda: host.shelves.index_asked(wish, path, told, readable))
        else:
            found = await self._sought(wish, lambda: host.shelves.index(wish.export, readable))
        if found is None:
            raise Refused(404, MirrorNotFound("there is no such export"))
        closed = any(host.is_closed("concelier", each) for each in domains)
        headers = caching(wish, closed=closed, keyed=host.keyed_cache)
        plan = Plan(wish, named or "-", closed, plan.limit, plan.budget, headers)
        await self._give(request, plan, Caller(name), found, send)

    async def _policy(self, request: Request, plan: Plan, domains: Sequence[str], send: Send) -> None:
        readable: list[str] = []
        try:
            readable, request.caller = await self._readable(request, "", domains)
        except Refused:
            if b"authorization" in request.headers:
                raise
        found = self._host.shelves.rendered(self._host.policy(readable))
        headers = [(b"cache-control", b"no-cache"), (b"vary", b"Authorization")]
        await self._give(
            request, Plan(plan.wish, "-", False, 0, "", headers), Caller(request.caller), found, send
        )

    async def _give(self, request: Request, plan: Plan, caller: Caller, found: Found, send: Send) -> None:
        """Send a representation, or that the caller has it already, or a part of it."""
        tag = etag(found.stored)
        asked = request.headers
        known = b"if-none-match" in asked and negotiation.matches(tag, asked[b"if-none-match"])
        part = None
        if not known and b"range" in asked:
            try:
                part = negotiation.wanted_range(
                    asked[b"range"], asked.get(b"if-range", b""), found.stored.size, tag
                )
            except Unsatisfiable:
                told = [(b"content-range", b"bytes */%d" % found.stored.size)]
                raise Refused(416, MirrorRange(f"the file has {found.stored.size:,} bytes"), told) from None
        rates = await self._spend(plan, caller, tag if part else b"")
        request.cache = found.cache
        headers = [*describing(found), *plan.headers, (b"x-cache-status", found.cache.encode()), *rates]
        if known:
            request.status = 304
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        begin, end = part or (0, found.stored.size)
        headers.append((b"content-length", b"%d" % (end - begin)))
        if part:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (begin, end - 1, found.stored.size)))
        request.status = 206 if part else 200
        if request.method == "HEAD":
            await send({"type": "http.response.start", "status": request.status, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        body = found.stored.body
        if body is None:
            await self._stream(request, found, (begin, end), headers, send)
            return
        request.bytes = end - begin
        request.has_begun = True
        await send({"type": "http.response.start", "status": request.status, "headers": headers})
        await send({"type": "http.response.body", "body": body[begin:end] if part else body})

    async def _stream(
        self, request: Request, found: Found, part: tuple[int, int], headers: Headers, send: Send
    ) -> None:
        """Send a large file, or a part of it, in pieces."""
        descriptor = await asyncio.to_thread(
            os.open, found.stored.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        )
        try:
            state = os.fstat(descriptor)
            if (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns) != found.stored.identity:
                raise Refused(503, MirrorNotReady("the file was just replaced"), [(b"retry-after", b"1")])
            begin, end = part
            request.has_begun = True
            await send({"type": "http.response.start", "status": request.status, "headers": headers})
            while begin < end and not request.is_gone():
                size = min(_PIECE, end - begin)
                piece = read_now(descriptor, begin, size)
                if not piece:
                    piece = await asyncio.to_thread(os.pread, descriptor, size, begin)
                if not piece:
                    raise OSError(f"{found.stored.path} became shorter")
                begin += len(piece)
                request.bytes += len(piece)
                async with asyncio.timeout(_STALLED):
                    await send({"type": "http.response.body", "body": piece, "more_body": begin < end})
            if begin < end:  # the server is about to hear that nobody is there any more
                await asyncio.sleep(_PARTING)
        finally:
            os.close(descriptor)

    async def _spend(self, plan: Plan, caller: Caller, tag: bytes) -> Headers:
        """Count the request in its budget; the headers that tell how much is left.

        Raises:
            Refused: nothing is.
        """
        if not plan.limit or plan.wish.budget is Budget.FREE:
            return []
        budgets, name = self._host.budgets, f"{plan.budget}/{caller.name}"
        if tag and await budgets.is_free_part(name, tag.decode()):
            return []
        spent = budgets.at_once(name, plan.limit) or await budgets.spend(name, plan.limit)
        if spent.allowed:
            return _rates(spent)
        self._host.rejected(plan.domain or "-")
        after = [(b"retry-after", b"%d" % spent.reset), *_rates(spent)]
        raise Refused(429, MirrorQuota(f"more than {spent.limit:,} requests in an hour"), after)

    async def _refuse(self, request: Request, refused: Refused, send: Send) -> None:
        body, headers = problem(refused, registry=request.is_registry)
        if refused.status == 400:
            headers.append((b"connection", b"close"))
        await _send(send, refused.status, headers, body, request)

    async def _about_us(self, request: Request, scope: Scope, send: Send) -> None:
        """Health, readiness and metrics, the last for those who are near."""
        client = scope.get("client")
        if request.path == b"/metrics" and not is_within(
            client[0] if client else "", self._host.metrics_from
        ):
            raise Refused(403, MirrorForbidden("metrics are for networks that GATEWAY__METRICSFROM names"))
        status, media, body = await asyncio.to_thread(self._host.about, request.path)
        headers = [
            (b"content-type", media.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        await _send(send, status, headers, body, request)


_REGISTRY: Headers = [(b"docker-distribution-api-version", b"registry/2.0"), (b"cache-control", b"no-store")]


async def _send(send: Send, status: int, headers: Headers, body: bytes, request: Request) -> None:
    request.status, request.bytes = status, len(body)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})


def _refused_status(headers: Headers, status: int) -> int:
    """What a refusal is, for the log: its header says it where a proxy cannot be told."""
    return next((int(value) for name, value in headers if name == b"x-stella-status"), status)


def _forwarded(request: Request) -> dict[str, str]:
    """What a back end is told of who asks: it checks credentials by itself."""
    told = {"x-forwarded-for": request.address, "x-forwarded-proto": request.scheme}
    credentials = request.headers.get(b"authorization")
    return told if credentials is None else {**told, "authorization": credentials.decode("latin-1")}


def _rates(spent: Spent) -> Headers:
    return [
        (b"ratelimit-limit", b"%d" % spent.limit),
        (b"ratelimit-remaining", b"%d" % spent.remaining),
        (b"ratelimit-reset", b"%d" % spent.reset),
    ]


def _one(domains: Sequence[str]) -> str | None:
    return domains[0] if len(domains) == 1 else None
