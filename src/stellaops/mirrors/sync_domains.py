"""Which of its readers' domains a host may lose, or has to wait for, when another tree comes.

A domain that is not in the tree that comes was given up, or the login that was used may not read it. The source cannot
be believed about that: whoever serves could leave a domain out. The publisher's signed lists say which it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from stellaops.bundles import freshness
from stellaops.core.errors import StellaError
from stellaops.mirrors import domain_list, forms
from stellaops.mirrors.domain_list import DomainList
from stellaops.mirrors.errors import BadTree, DomainsLost, SourceUnreachable
from stellaops.mirrors.signed_files import SIG
from stellaops.mirrors.sync_claims import Claims
from stellaops.mirrors.sync_work import Part, Work
from stellaops.signing import cosign_blob, ecdsa_p256


@dataclass(frozen=True, slots=True)
class Missing:
    """The domains that a sync does not bring itself.

    Attributes:
        given_up: their publisher says so, signed.
        waiting: earlier syncs have brought them into this tree; their statements, by domain.
        awaited: other syncs have to bring them before readers follow the tree.
    """

    given_up: Sequence[str] = ()
    waiting: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    awaited: Sequence[str] = ()


def judge(known: Collection[str], parts: Sequence[Part], claims: Claims, work: Work) -> Missing:
    """What becomes of the domains that are not brought.

    Args:
        known: domains that readers have in another tree; none where they follow this one already.

    Raises:
        DomainsLost: readers would lose one.
        SourceUnreachable, DomainNotFound: one that was asked for does not come, and was not given up.
    """
    brought = {each.claim.domain for each in parts}
    lost = set(known) - brought - set(work.wish.drops)
    unsure = lost | set(claims.absent)
    lists = _lists(parts, work) if unsure else ()
    gone = {name for name in unsure if lists and all(each.gave_up(name) for each in lists)}
    for name in sorted(set(claims.absent) - gone):
        raise claims.absent[name]
    left = sorted(lost - gone)
    waiting = {name: found for name in left if (found := _waiting(name, work))}
    awaited = [name for name in left if name not in waiting]
    if awaited:
        _demand_awaited(awaited, lists, work)
    return Missing(sorted(gone), waiting, awaited)


def _demand_awaited(names: Sequence[str], lists: Sequence[DomainList], work: Work) -> None:
    in_force = bool(lists) and all(each.has(name) for each in lists for name in names)
    if work.wish.in_turn and (in_force or not lists):
        return
    told, options = ", ".join(names), " ".join(f"--drop {name}" for name in names)
    more = " and their publisher still has" if in_force else ""
    raise DomainsLost(
        f"the tree {work.export_id} of {work.side} would come from {work.tools.source.place} without {told}, "
        f"which readers of this host have{more}",
        hint="Sync with credentials that may read all of the host's domains. Where each login reads some of them, "
        "sync with each by --in-turn: readers follow the tree when all have come. Where this host is to serve "
        f"them no more, say so: {options}",
    )


def _lists(parts: Sequence[Part], work: Work) -> Sequence[DomainList]:
    """What the domains that come say of all domains; nothing where one of them says nothing.

    Nor is an old tree that was asked for heard about that: what it lacks may have come after it.
    """
    if work.wish.allow_stale:
        return ()
    found = [_list(part, work) for part in parts]
    known = [each for each in found if each is not None]
    return known if len(known) == len(found) else ()


def _list(part: Part, work: Work) -> DomainList | None:
    """The list in a domain's tree; None in a tree of a publisher who makes none.

    Raises:
        BadTree, SourceUnreachable: it is not there as it was signed.
    """
    path = f"{forms.place(part.claim.domain)}/{domain_list.FILE}"
    entry = next((each for each in part.tree.files if each.path == path), None)
    if entry is None:
        return None
    source = work.tools.source
    data = source.small(work.side, f"{work.export_id}/{path}", domain_list.LARGEST)
    if data is None:
        raise SourceUnreachable(f"{source.place} has no {path} of {work.side} {work.export_id}")
    if (hashlib.sha256(data).hexdigest(), len(data)) != (entry.sha256, entry.bytes):
        raise BadTree(f"{source.place}: {path} of {work.export_id} is not what its publisher signed")
    return domain_list.parse(data, work.side, work.export_id)


def _waiting(domain: str, work: Work) -> Mapping[str, bytes]:
    """The statement of a domain that an earlier sync has brought into this very tree, while it holds."""
    there, key_file = work.tools.destination, f"{forms.place(domain)}/{forms.KEY}"
    files = there.waiting(work.side, domain)
    try:
        data, statement = files[""], freshness.parse(files[""])
        key = ecdsa_p256.load_public_key(there.file(work.side, work.export_id, key_file).read_bytes())
        cosign_blob.verify(files[SIG], hashlib.sha256(data).digest(), key)
    except (KeyError, OSError, StellaError):  # it has to come once more
        return {}
    holds = work.wish.allow_stale or statement.expires >= work.tools.now()
    return files if holds and statement.export_id == work.export_id else {}
