"""What a source says of its domains: believed by signatures alone, and never when it is older than what is held."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from stellaops.bundles import freshness, layout
from stellaops.bundles.freshness import BadFreshness, Freshness
from stellaops.mirrors import forms
from stellaops.mirrors.domain import Side, is_domain_id
from stellaops.mirrors.errors import BadTree, DomainNotFound, SourceUnreachable, StaleTree
from stellaops.mirrors.signed_files import SIG, SIGSTORE, verify_bytes
from stellaops.mirrors.sync_work import Claim, Part, SyncTools, Trusted, Wish, Work
from stellaops.signing import cosign_blob
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey

_SIGNATURE_BYTES = 8 << 10
_ROUNDS = 5
_PAUSE = 1.0
_NAMED = 20  # domains that an error names
"""Seconds before a source is asked again whose domains name different trees: it is being published there."""
_OTHER_KEY = (
    "Where the publisher's key was rotated, get the public key that signs at present by a way that you trust, and name "
    "it beside the earlier one: --key EARLIER --key PRESENT. Where it was not, do not use this tree."
)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a source says of the domains that were asked for: all of one tree.

    Attributes:
        absent: domains that it does not give, with why not.
    """

    found: Sequence[Claim]
    absent: Mapping[str, SourceUnreachable | DomainNotFound]


def claimed(side: Side, domains: Sequence[str], wish: Wish, tools: SyncTools) -> Claims:
    """What is the newest of each domain. While the source is being published, it is asked again.

    Raises:
        BadTree, BadSignature, StaleTree: see `sync`.
        SourceUnreachable: it gives no domain at all, or goes on naming different trees.
        DomainNotFound: it gives others than those that are wanted.
    """
    found: list[Claim] = []
    for number in range(_ROUNDS):
        if number:
            tools.sleep(_PAUSE)
        found, absent = [], dict[str, SourceUnreachable | DomainNotFound]()
        for domain in domains:
            try:
                found.append(_claim(side, domain, wish, tools))
            except (SourceUnreachable, DomainNotFound) as error:
                absent[domain] = error
        if not found:
            raise absent[domains[0]]
        if len({each.export_id for each in found}) == 1:
            return Claims(found, absent)
    told = ", ".join(f"{each.domain} {each.export_id}" for each in found)
    raise SourceUnreachable(f"{tools.source.place}: the domains of {side} name different trees: {told}")


def _not_there(side: Side, domain: str, tools: SyncTools) -> SourceUnreachable | DomainNotFound:
    """Why a domain is not given: there are others, or nothing is published."""
    what = f"{tools.source.place} has no domain {domain} on the side of {side}"
    there = sorted(filter(is_domain_id, tools.source.domains(side)))
    if not there or domain in there:
        return SourceUnreachable(what)
    more = ", …" if len(there) > _NAMED else ""
    return DomainNotFound(what, hint=f"Name one that is there: {', '.join(there[:_NAMED])}{more}.")


def _claim(side: Side, domain: str, wish: Wish, tools: SyncTools) -> Claim:
    path = f"{forms.FRESHNESS}/{domain}.json"
    data = tools.source.small(side, path, freshness.LARGEST)
    signature = tools.source.small(side, path + SIG, _SIGNATURE_BYTES)
    if data is None or signature is None:
        latest = tools.source.latest(side, domain)
        if latest is None or not (wish.allow_stale or domain in tools.source.domains(side)):
            raise _not_there(side, domain, tools)
        if not wish.allow_stale:
            raise StaleTree(f"{tools.source.place} has no freshness statement for {domain} of {side}")
        return Claim(domain, _sound_id(latest, tools))
    digest = hashlib.sha256(data).digest()
    _signed_by(tools.trusted, lambda key: cosign_blob.verify(signature, digest, key))
    statement = freshness.parse(data)
    if statement.profile != forms.freshness_profile(side, domain):
        raise BadTree(f"the freshness statement of {domain} of {side} is about {statement.profile[:100]!r}")
    if not wish.allow_stale:
        _demand_fresh(side, domain, statement, tools)
    return Claim(domain, _sound_id(statement.export_id, tools), statement, {"": data, SIG: signature})


def _sound_id(export_id: str, tools: SyncTools) -> str:
    if not layout.is_content_id(export_id):
        raise BadTree(f"{tools.source.place} names the export {export_id[:80]!r}")
    return export_id


def _demand_fresh(side: Side, domain: str, statement: Freshness, tools: SyncTools) -> None:
    """Refuse what has expired, and what is older than what is held.

    Raises:
        StaleTree: see there.
    """
    if statement.expires < tools.now():
        raise StaleTree(f"the freshness statement of {domain} of {side} expired at {statement.expires}")
    there = tools.destination
    for known in (there.freshness(side, domain), there.waiting(side, domain).get("")):
        held = _version(known)
        if held > statement.version:
            raise StaleTree(f"{domain} of {side}: version {statement.version} is offered, and {held} is held")


def _version(known: bytes | None) -> int:
    if known is not None:
        with suppress(BadFreshness):  # one that is damaged here says nothing
            return freshness.parse(known).version
    return 0


def _signed_by(trusted: Trusted, check: Callable[[PublicKey], None]) -> PublicKey:
    """The trusted key that signed something.

    Raises:
        BadSignature: none did.
    """
    for key in trusted.keys.values():
        with suppress(BadSignature):
            check(key)
            return key
    raise BadSignature("no trusted key has signed what the source offers", hint=_OTHER_KEY)


def listing(claim: Claim, work: Work) -> Part:
    """The signed list of a domain's files.

    Raises:
        BadTree, BadSignature, SourceUnreachable: see `sync`.
    """
    source, place = work.tools.source, f"{forms.place(claim.domain)}/{forms.TREE}"
    own = {}
    for suffix, most in (("", forms.LARGEST_TREE), (SIG, _SIGNATURE_BYTES), (SIGSTORE, _SIGNATURE_BYTES)):
        found = source.small(work.side, f"{claim.export_id}/{place}{suffix}", most)
        if found is None:
            raise SourceUnreachable(f"{source.place} has no {place}{suffix} of {work.side} {claim.export_id}")
        own[place + suffix] = found
    data, signature, bundle = own.values()
    key = _signed_by(work.tools.trusted, lambda key: verify_bytes(data, signature, bundle, key))
    tree = forms.parse_tree(data)
    if (tree.side, tree.domain, tree.export_id) != (work.side, claim.domain, claim.export_id):
        raise BadTree(f"the list of {claim.domain} of {work.side} is of {tree.domain} of {tree.side}")
    return Part(claim, tree, own, key)
