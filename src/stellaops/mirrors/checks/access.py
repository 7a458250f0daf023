"""Who gets what: no credentials, wrong ones, paths that lead elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from stellaops.mirrors.checks.concelier import INDEX
from stellaops.mirrors.checks.ports import Asker, Login, Question, Seen
from stellaops.mirrors.checks.visit import Visit, ask
from stellaops.mirrors.domain import SIDES, Side

_REFUSED = (400, 401, 403, 404, 405, 501)
_VERSION = re.compile(r"/\d")
_FEW = 3
POLICY = "/.well-known/api-policy.json"


class _Rules(msgspec.Struct, rename="camel"):
    id: str
    require_authentication: bool


class _SidePolicy(msgspec.Struct):
    domains: list[_Rules]


class _Policy(msgspec.Struct):
    sides: dict[str, _SidePolicy]


class _Problem(msgspec.Struct):
    code: str
    errors: list[msgspec.Raw] = []


def judge_access(visit: Visit, routes: Sequence[str]) -> None:
    """Judge who is let in.

    Args:
        routes: paths that the caller was given before.
    """
    _strangers(visit, routes)
    _nowhere(visit)
    _elsewhere(visit)
    _policy(visit)


def closed_sides(asker: Asker, domain: str) -> frozenset[Side]:
    """The sides on which a domain asks for credentials: those on which its policy does not say that it asks for none.

    Who checks without credentials sees what is open alone.
    """
    if not asker.has_login:
        return frozenset()
    told = _policies(asker)
    open_ones = {
        side
        for side, policy in told.items()
        if any(each.id == domain and not each.require_authentication for each in policy.domains)
    }
    return frozenset(side for side in SIDES if side not in open_ones)


def domains_told(asker: Asker, sides: Sequence[Side]) -> tuple[str, ...]:
    """The domains of some sides that the access policy names to these credentials."""
    told = _policies(asker)
    found = [each.id for side in sides if side in told for each in told[side].domains]
    return tuple(dict.fromkeys(found))


def _policies(asker: Asker) -> Mapping[str, _SidePolicy]:
    """What the access policy says of each side; nothing where it cannot be read."""
    seen = ask(asker, Question(POLICY))
    try:
        return msgspec.json.decode(seen.body, type=_Policy).sides if seen.status == 200 else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _strangers(visit: Visit, routes: Sequence[str]) -> None:
    closed = [path for path in routes if visit.is_closed(path)]
    if not closed:
        names = ("challenge", "wrong-credentials", "after-hit")
        visit.notes.skip(f"the domain {visit.domain} asks nobody for credentials", *names)
        return
    for path in closed:
        _challenged(visit, path)
    for path in closed[:_FEW]:
        seen = visit.get(path, Login.WRONG)
        text = f"{path} answers {seen.status} to a wrong password"
        visit.notes.demand("wrong-credentials", seen.status == 401, text)
        refused(visit, path, seen)
        given, after = visit.get(path), visit.get(path, Login.NONE)
        text = f"{path} answers {after.status} without credentials after it was given to somebody"
        right = given.status == 200 and (after.status == 401 or _is_of_others(visit, path, after))
        visit.notes.demand("after-hit", right, text)


def _challenged(visit: Visit, path: str) -> None:
    seen = visit.get(path, Login.NONE)
    if _is_of_others(visit, path, seen):
        return
    text = f"{path} answers {seen.status} to who shows no credentials"
    if visit.notes.demand("challenge", seen.status == 401, text):
        visit.notes.demand("challenge", seen.asks_for_password, f"{path}: 401 has no Basic challenge")
    refused(visit, path, seen, registry=path.startswith("/v2/"))


def _is_of_others(visit: Visit, path: str, seen: Seen) -> bool:
    """Whether an index is that of the domains beside this one which are open to everybody."""
    return path == INDEX and seen.status == 200 and f'"{visit.domain}"'.encode() not in seen.body


def _nowhere(visit: Visit) -> None:
    """What is not there, what is asked for by other methods."""
    domain = visit.domain
    for path in (
        f"/concelier/exports/mirror/{domain}/there-is-no-such-file.json",
        f"/excititor/mirror/{domain}/exports/there-is-no-such-export",
        "/there-is-no-such-path",
    ):
        seen = visit.get(path)
        visit.notes.demand("not-found", seen.status == 404, f"{path} answers {seen.status}")
        refused(visit, path, seen)
    path = INDEX
    for method in ("POST", "PUT", "DELETE"):
        seen = visit.ask(Question(path, method=method))
        visit.notes.demand("methods", seen.status in _REFUSED, f"{method} {path} answers {seen.status}")
    seen = visit.get(INDEX)
    server = seen.header("server")
    visit.notes.demand(
        "server-version", not _VERSION.search(server), f"the server says that it is {server[:80]}"
    )


def _elsewhere(visit: Visit) -> None:
    """Paths that two servers could read in two ways, and what is nobody's from outside."""
    _crooked(visit)
    for path in ("/metrics", "/_stella/authorize", "/_authorize"):
        if path == "/metrics" and visit.asker.is_local:
            continue  # the machine itself may read them
        seen = visit.get(path, Login.NONE)
        shown = seen.status < 300 or b"mirror_requests_total" in seen.body
        visit.notes.demand("insides", not shown, f"{path} answers {seen.status}")


def _crooked(visit: Visit) -> None:
    if not visit.asker.is_exact:
        visit.notes.skip("a proxy on the way gets paths cleaned", "paths")
        return
    base, file = f"/concelier/exports/mirror/{visit.domain}", "manifest.json"
    if "concelier" not in visit.sides:
        base, file = f"/excititor/mirror/{visit.domain}", "index.json"
    plain = visit.get(f"{base}/{file}").sha256
    for path in (
        f"{base}/../{visit.domain}/{file}",
        f"{base}/%2e%2e/{visit.domain}/{file}",
        f"{base}%2f{file}",
        f"{base}/{file.replace('.', '%252e')}",
        "/concelier/..%2f..%2f..%2fetc%2fpasswd",
        "/concelier/exports/../../../../etc/passwd",
        f"/osv/{visit.domain}/..%5c..%5cindex.json",
    ):
        seen = visit.get(path)
        # A cache in front may clean a path before it asks: then it is the plain one.
        right = seen.status in _REFUSED or (seen.status == 200 and seen.sha256 == plain)
        visit.notes.demand("paths", right, f"{path} answers {seen.status}")
        if visit.is_closed(path):
            stranger = visit.get(path, Login.NONE)
            text = f"{path} answers {stranger.status} to who shows no credentials"
            visit.notes.demand("paths", stranger.status in _REFUSED, text)


def _policy(visit: Visit) -> None:
    path = POLICY
    told = visit.decoded("policy", path, visit.get(path), _Policy)
    if told is None:
        return
    for side in visit.sides:
        found = [each for each in told.sides.get(side, _SidePolicy([])).domains if each.id == visit.domain]
        if visit.notes.demand("policy", found, f"{path} does not name {visit.domain} of {side}"):
            right = any(each.require_authentication for each in found) == (side in visit.closed)
            text = f"{path} says of {visit.domain} of {side} what does not hold"
            visit.notes.demand("policy", right, text)


def refused(visit: Visit, path: str, seen: Seen, *, registry: bool = False) -> None:
    """Judge the form of a refusal."""
    if seen.status < 400:
        return
    kept = "no-store" in seen.header("cache-control").lower()
    visit.notes.demand("refusals-not-kept", kept, f"{path}: {seen.status} may be kept by caches")
    if registry:  # which has errors of its own
        return
    media = seen.header("content-type").partition(";")[0].strip()
    try:
        code = msgspec.json.decode(seen.body, type=_Problem).code
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        code = ""
    right = media == "application/problem+json" and bool(code)
    visit.notes.demand("problems", right, f"{path}: {seen.status} is {media[:80] or 'nothing'}")
