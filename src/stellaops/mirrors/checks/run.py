"""A check of a running mirror, from its address to one verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import msgspec

from stellaops.mirrors import forms
from stellaops.mirrors.checks.access import POLICY, closed_sides, domains_told, judge_access
from stellaops.mirrors.checks.concelier import INDEX, Index, Listed, judge_concelier, judge_key, judge_tree
from stellaops.mirrors.checks.excititor import Exports, judge_excititor
from stellaops.mirrors.checks.freshness import judge_freshness
from stellaops.mirrors.checks.headers import Paths, judge_headers, judge_large
from stellaops.mirrors.checks.ports import (
    Asker,
    CheckCredentials,
    CheckNotTrusted,
    CheckUnreachable,
    Question,
    Seen,
)
from stellaops.mirrors.checks.report import Notes, Report
from stellaops.mirrors.checks.scanners import judge_osv, judge_registry, judge_vex_repository
from stellaops.mirrors.checks.tls import judge_tls
from stellaops.mirrors.checks.visit import Visit, ask
from stellaops.mirrors.domain import SIDES, Side, is_domain_id
from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import PublicKey, UnusableKey


@dataclass(frozen=True, slots=True)
class Wish:
    """What is checked.

    Attributes:
        domains: all that the index names for these credentials where empty.
        keys: trusted public keys by id; where empty the mirror's own count, and whose they are is not judged.
        inside: the address lies behind what ends TLS.
        every: fetch every file that a tree lists.
    """

    domains: Sequence[str] = ()
    sides: Sequence[Side] = SIDES
    keys: Mapping[str, PublicKey] | None = None
    inside: bool = False
    every: bool = False


def check(wish: Wish, asker: Asker, now: datetime, told: Callable[[str], None] = lambda _: None) -> Report:
    """Judge a mirror.

    Raises:
        CheckUnreachable: it does not answer at all.
        CheckCredentials, CheckThrottled: see there.
    """
    notes, domains = Notes(), tuple(wish.domains)
    try:
        judge_tls(asker, notes, now, inside=wish.inside)
        index = _index(asker, notes, wish)
        domains = domains or tuple(each.id for each in index.domains) or domains_told(asker, wish.sides)
        if not domains:
            name = "index" if "concelier" in wish.sides else "excititor-index"
            notes.demand(name, False, f"{INDEX} and {POLICY} name no domain")
        for domain in domains:
            told(f"checking {domain}")
            _judge_domain(domain, index, wish, (asker, notes, now))
    except CheckNotTrusted as error:
        # Nothing more is asked: credentials do not travel to somebody whose name is not proven.
        notes.demand("https", False, error.what)
    return Report(asker.place, now, domains, notes.judged(), asker.requests)


def _index(asker: Asker, notes: Notes, wish: Wish) -> Index:
    """Concelier's index, as these credentials see it.

    Raises:
        CheckCredentials: see there.
    """
    seen = ask(asker, Question(INDEX))
    _demand_let_in(asker, INDEX, seen)
    if "concelier" not in wish.sides:
        return Index(1, "", [])
    try:
        if notes.demand("index", seen.status == 200, f"{INDEX} answers {seen.status}"):
            return msgspec.json.decode(seen.body, type=Index)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        notes.demand("index", False, f"{INDEX}: {error}")
    return Index(1, "", [])


def _demand_let_in(asker: Asker, path: str, seen: Seen) -> None:
    if seen.status in (401, 403):
        shown = "to these credentials" if asker.has_login else "without credentials"
        raise CheckCredentials(f"{asker.place}{path} answers {seen.status} {shown}")


def _judge_domain(domain: str, index: Index, wish: Wish, tools: tuple[Asker, Notes, datetime]) -> None:
    asker, notes, now = tools
    if not is_domain_id(domain):
        notes.demand("index", False, f"{INDEX} names the domain {domain[:80]!r}")
        return
    path = f"/concelier/exports/mirror/{domain}/{forms.KEY}"
    if "concelier" not in wish.sides:
        path = f"/excititor/mirror/{domain}/{forms.KEY}"
    served = ask(asker, Question(path))
    _demand_let_in(asker, path, served)
    own = _key(served.body) if served.status == 200 else None
    keys = wish.keys or ({own.key_id: own} if own else {})
    closed = closed_sides(asker, domain)
    visit = Visit(asker, notes, domain, wish.sides, keys, now, closed, wish.every)
    if wish.keys:
        judge_key(visit, served, own.key_id if own else None, path)
    else:
        notes.skip(
            "no key was given: signatures were checked by the key that the mirror gives out itself", "key"
        )
    listed = next((each for each in index.domains if each.id == domain), None)
    if "concelier" in wish.sides:
        notes.demand("index", listed, f"{INDEX} does not name {domain}")
    _judge_contents(visit, listed)


def _judge_contents(visit: Visit, listed: Listed | None) -> None:
    found: list[Exports] = []
    exports: dict[Side, str] = {}
    if listed is not None:
        exports["concelier"] = listed.export_id
        _attempt(visit, "bundle", lambda: judge_concelier(visit, listed))
    if "excititor" in visit.sides:
        _attempt(visit, "excititor-index", lambda: found.extend(filter(None, [judge_excititor(visit)])))
    if found:
        exports["excititor"] = found[0].export_id
    for side, export in exports.items():
        _attempt(visit, "freshness-signed", partial(judge_freshness, visit, side, export))
        _attempt(visit, "tree-files", partial(judge_tree, visit, side, export))
    if "concelier" in visit.sides:
        _attempt(visit, "osv", lambda: judge_osv(visit))
        _attempt(visit, "registry", lambda: judge_registry(visit))
    if "excititor" in visit.sides:
        _attempt(visit, "vex-repository", lambda: judge_vex_repository(visit))
    paths = _paths(visit, listed, found[0] if found else None)
    _attempt(visit, "etag", lambda: judge_headers(visit, paths))
    if listed is not None:
        _attempt(
            visit,
            "range",
            lambda: judge_large(visit, f"/concelier/exports/{listed.bundle.path}", listed.bundle),
        )
    _attempt(visit, "not-found", lambda: judge_access(visit, _routes(visit, paths)))


def _attempt(visit: Visit, name: str, judge: Callable[[], object]) -> None:
    """Judge a part; a connection that breaks is a finding of one of its requirements."""
    try:
        judge()
    except CheckUnreachable as error:
        visit.notes.demand(name, False, error.what)


def _paths(visit: Visit, listed: Listed | None, vex: Exports | None) -> Paths:
    """Paths to look at more closely."""
    stable: list[str] = []
    immutable: list[str] = []
    if listed is not None:
        stable += [INDEX, f"/concelier/exports/mirror/{visit.domain}/{forms.MANIFEST}"]
        immutable.append(f"/concelier/exports/{listed.manifest.path}")
    if vex is not None:
        stable.append(f"/excititor/mirror/{visit.domain}/index")
        smallest = sorted(vex.exports, key=lambda each: each.artifact_size_bytes)[:1]
        base = f"/excititor/exports/{vex.export_id}/mirror/{visit.domain}"
        immutable += [f"{base}/{each.file}" for each in smallest]
    return Paths(stable, immutable, [f"{path}.sig" for path in immutable])


def _routes(visit: Visit, paths: Paths) -> list[str]:
    """Paths of the domain that nobody may read without credentials, one of each kind."""
    domain, found = visit.domain, [*paths.stable, *paths.immutable, *paths.signatures]
    if "concelier" in visit.sides:
        mirror = f"/concelier/exports/mirror/{domain}"
        found += [
            f"/concelier/exports/freshness/{domain}.json",
            f"{mirror}/bundle.json",
            f"{mirror}/bundle.json.jws",
        ]
        found += [f"/osv/{domain}/ecosystems.txt", f"/v2/{domain}/trivy-db/manifests/latest"]
    if "excititor" in visit.sides:
        found += [f"/excititor/exports/freshness/{domain}.json", f"/vex/{domain}/vex-repository.tar.gz"]
        found += [f"/vex/{domain}/.well-known/vex-repository.json"]
        found += [f"/excititor/mirror/{domain}/exports/consensus-json"]
    return found


def _key(pem: bytes) -> PublicKey | None:
    try:
        return ecdsa_p256.load_public_key(pem)
    except UnusableKey:
        return None
