"""What is known of a host name and a path before anybody has asked; remembered, for most paths are asked for often."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stellaops.core.errors import StellaError
from stellaops.gateway.answers import Headers, Refused
from stellaops.gateway.errors import DomainMismatch, MirrorNotFound
from stellaops.gateway.host import Host
from stellaops.gateway.requests import Request
from stellaops.gateway.routes import STABLE_SECONDS, Budget, Kind, Wish, parse

_MOST_PLANS = 8192
_BY_DOMAIN = {
    Kind.KEY: "Ask the domain's own host name, or for /concelier/exports/mirror/<domain>/mirror-key.pub.",
    Kind.VEX_MANIFEST: "Ask the domain's own host name, or for /vex/<domain>/.well-known/vex-repository.json.",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of a host name and a path before anybody has asked.

    Attributes:
        domain: None where the answer depends on which domains the caller may read.
        closed: whether it asks for credentials.
        limit: of the hourly budget; 0 for none.
        headers: those of every good answer.
        refused: the answer, whoever asks.
    """

    wish: Wish
    domain: str | None
    closed: bool
    limit: int
    budget: str
    headers: Headers
    refused: Refused | None = None


class Plans:
    """The plans of a host; all are forgotten when it is loaded anew."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._plans: dict[tuple[str, bytes], Plan] = {}
        self._version = -1

    def plan(self, request: Request) -> Plan:
        """The plan of a request."""
        if self._version != self._host.version:
            self._plans.clear()
            self._version = self._host.version
        key = request.host, request.path
        plan = self._plans.get(key)
        if plan is None:
            plan = self._made(request)
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def known(self, request: Request) -> Plan | None:
        """The plan of a request, where it was made before."""
        if self._version != self._host.version:
            return None
        return self._plans.get((request.host, request.path))

    def _made(self, request: Request) -> Plan:
        host = self._host
        wish = parse(request.path)
        named = host.domain_of(request.host)
        if wish is None or (wish.side and wish.side not in host.sides):
            return _refusing(404, MirrorNotFound("there is no such path here"))
        if wish.domain and named and wish.domain != named:
            return _refusing(403, DomainMismatch(f"{request.host} does not serve the domain of this path"))
        domain = wish.domain or named or host.only_domain(wish.kind)
        if domain is not None and domain not in host.domains and not host.asks_anybody():
            return _refusing(404, MirrorNotFound("there is no such domain here"))
        if domain is None and wish.kind in (Kind.KEY, Kind.VEX_MANIFEST):
            text = "this path is there under the host name of a domain"
            return _refusing(404, MirrorNotFound(text, hint=_BY_DOMAIN[wish.kind]))
        if wish.domain is None and domain is not None and wish.kind in (Kind.KEY, Kind.VEX_MANIFEST):
            wish = replace(wish, domain=domain, side=wish.side or next(iter(host.sides), "concelier"))
        if domain is None or wish.kind in (Kind.INDEX, Kind.POLICY, Kind.OCI_BASE):
            return Plan(wish, None, False, host.limit(wish, named), f"{wish.budget.value}/{named or '-'}", [])
        closed = host.is_closed(wish.side, domain)
        headers = caching(wish, closed=closed, keyed=host.keyed_cache)
        return Plan(wish, domain, closed, host.limit(wish, domain), f"{wish.budget.value}/{domain}", headers)


def _refusing(status: int, error: StellaError) -> Plan:
    wish = Wish(Kind.FILE, "", None, budget=Budget.FREE)
    return Plan(wish, None, False, 0, "", [], Refused(status, error))


def caching(wish: Wish, *, closed: bool, keyed: bool) -> Headers:
    """The headers that tell caches what they may do."""
    who = "public" if keyed or not closed else "private"
    age = f"{who}, max-age={wish.seconds if wish.immutable else STABLE_SECONDS}"
    vary = "Accept-Encoding, Authorization" if closed else "Accept-Encoding"
    headers = [
        (b"cache-control", (f"{age}, immutable" if wish.immutable else age).encode()),
        (b"vary", vary.encode()),
    ]
    if wish.repository:
        headers.append((b"docker-distribution-api-version", b"registry/2.0"))
    return headers
