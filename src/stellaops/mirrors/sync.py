"""Syncing: a mirror host's copy of a published tree, by its signed list and never by sizes or times.

    1. The freshness statement of each domain: signed by a trusted key, not expired, not older than the one held.
    2. The list of the domain's files: signed by the same keys.
    3. Files that are held already are linked; the others are fetched, several at once, each checked by its digest.
    4. The index is written from the manifests. Then the tree gets its name, the statements are put beside it, and
       `latest` is switched. Trees that have not been followed for a while go.

What lies under an export id only ever grows: domains that the tree of this id has already stay in it, whichever are
brought. Readers do not lose a domain by another tree either, unless its publisher says in a signed list that it was
given up, or whoever syncs says that it may go. Syncs that each bring some of the domains may wait for each other.

A sync that is interrupted leaves the tree in force as it was; the next one goes on with what was fetched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from stellaops.bundles.freshness import Freshness
from stellaops.mirrors import forms, sync_state
from stellaops.mirrors.domain import Side, is_domain_id
from stellaops.mirrors.errors import BadTree, DomainNotFound, SourceUnreachable
from stellaops.mirrors.sync_claims import claimed, listing
from stellaops.mirrors.sync_domains import Missing, judge
from stellaops.mirrors.sync_gather import bring, is_sound
from stellaops.mirrors.sync_state import SyncState
from stellaops.mirrors.sync_work import Claim, Part, SyncTools, Trusted, Wish, Work

__all__ = ["SyncTools", "Synced", "Trusted", "Wish", "sync"]


@dataclass(frozen=True, slots=True)
class Synced:
    """What came of one domain's side.

    Attributes:
        changed: whether readers of the domain follow another tree than before, or have one for the first time.
        bytes: that were fetched; of a dry run, that would be.
        files: that were fetched; what archives of the tree hold too is unpacked from there.
        statement: None where the source has none, which `allow_stale` let pass.
        synced_at: when it was synced last: this time, or of a dry run the time before; None where it never was.
        waits_for: domains that other syncs have to bring before readers follow what was brought.
        given_up: its publisher has said, signed, that there is no such domain any more.
    """

    side: Side
    domain: str
    export_id: str
    changed: bool
    bytes: int
    files: int
    statement: Freshness | None
    synced_at: datetime | None
    waits_for: tuple[str, ...] = ()
    given_up: bool = False

    def lag(self, now: datetime) -> int | None:
        """Seconds since the domain was synced last."""
        return None if self.synced_at is None else max(0, int((now - self.synced_at).total_seconds()))

    def age(self, now: datetime) -> int | None:
        """Seconds since the publisher last said that this is the newest."""
        return None if self.statement is None else max(0, int((now - self.statement.issued).total_seconds()))


def sync(wish: Wish, tools: SyncTools) -> tuple[Synced, ...]:
    """Bring the trees of a source to a directory.

    Raises:
        BadTree, BadSignature, StaleTree: what the source has is not what a trusted key signed, or not the newest.
        DomainsLost: its tree would come without domains that are in force.
        DomainNotFound: it has no domain of a name that was asked for.
        SourceUnreachable, SyncRuns: see there. The tree in force stays as it was.
    """
    done: list[Synced] = []
    with tools.destination.turn():
        for side in wish.sides:
            domains = tuple(wish.domains) or tuple(tools.source.domains(side))
            foreign = [name for name in domains if not is_domain_id(name)]
            if foreign and wish.domains:
                raise DomainNotFound(f"{foreign[0][:80]!r} cannot be the id of a mirror domain")
            if foreign:
                raise BadTree(f"{tools.source.place} names the domain {foreign[0][:80]!r}")
            if domains:
                done += _sync_side(side, domains, wish, tools)
    if not done:
        raise SourceUnreachable(f"{tools.source.place} has no published domain")
    return tuple(done)


def _sync_side(side: Side, domains: Sequence[str], wish: Wish, tools: SyncTools) -> list[Synced]:
    claims, there = claimed(side, domains, wish, tools), tools.destination
    work = Work(side, claims.found[0].export_id, wish, tools)
    before = there.latest(side)
    known = set() if before is None else set(there.domains(side, before))
    listed = [listing(claim, work) for claim in claims.found]
    missing = judge(known if before != work.export_id else (), listed, claims, work)
    parts = [_compared(each, before, work) for each in listed]
    if not wish.dry_run:
        here = set(there.domains(side, work.export_id))
        if not here.issuperset(each.claim.domain for each in parts) or any(each.missing for each in parts):
            bring(parts, work)
        if missing.awaited:
            _let_wait(claims.found, work)
        else:
            _put_in_force(claims.found, missing, work)
    done = [_told(each, before, known, missing, work) for each in parts]
    return done + [_gone(each, known, work) for each in missing.given_up]


def _told(part: Part, before: str | None, known: Collection[str], missing: Missing, work: Work) -> Synced:
    claim = part.claim
    is_other = before != work.export_id or claim.domain not in known
    return Synced(
        work.side,
        claim.domain,
        work.export_id,
        is_other and not missing.awaited,
        sum(entry.bytes for entry in part.fetched),
        len(part.fetched),
        claim.statement,
        _synced_at(work.tools.destination.synced(work.side, claim.domain)),
        waits_for=tuple(missing.awaited),
    )


def _gone(domain: str, known: Collection[str], work: Work) -> Synced:
    return Synced(work.side, domain, work.export_id, domain in known, 0, 0, None, None, given_up=True)


def _let_wait(claims: Sequence[Claim], work: Work) -> None:
    """Keep what was brought, with its statements, until other syncs have brought the rest."""
    for claim in claims:
        work.tools.destination.put_waiting(work.side, claim.domain, claim.files)
    _clear(work)


def _put_in_force(claims: Sequence[Claim], missing: Missing, work: Work) -> None:
    """Let readers follow the tree, and note that this sync went through."""
    there, side = work.tools.destination, work.side
    here = sorted(there.domains(side, work.export_id))
    files = {**missing.waiting, **{claim.domain: claim.files for claim in claims}}
    for domain, statement in files.items():
        there.put_freshness(side, domain, statement)
    state = SyncState(work.export_id, work.tools.now())
    # Noted before readers lose them: the next sync after a kill finds them in no tree that is in force.
    for domain in missing.given_up:
        there.note_synced(side, domain, replace(state, given_up=True).encode())
    there.switch(side, work.export_id)
    there.drop_freshness(side, here)
    for domain in files:
        there.note_synced(side, domain, state.encode())
    there.drop_synced(side, [*here, *(each for each in there.noted(side) if _is_given_up(each, work))])
    there.drop_waiting(side, [domain for domain in here if domain not in files])
    _clear(work)


def _is_given_up(domain: str, work: Work) -> bool:
    state = sync_state.decode(work.tools.destination.synced(work.side, domain))
    return state is not None and state.given_up


def _synced_at(noted: bytes | None) -> datetime | None:
    state = sync_state.decode(noted)
    return None if state is None else state.synced_at


def _compared(part: Part, before: str | None, work: Work) -> Part:
    """The same with what is held of it: in the tree in force, or in this very one, brought by a sync that died then.

    Their lists were checked when they came.
    """
    there, domain = work.tools.destination, part.claim.domain
    work.tools.told(f"comparing {domain}")
    held: dict[str, Path] = {}
    for export_id in {before or work.export_id, work.export_id}:
        with suppress(OSError, BadTree):
            file = there.file(work.side, export_id, f"{forms.place(domain)}/{forms.TREE}")
            for entry in forms.parse_tree(file.read_bytes()).files:
                held[entry.sha256] = there.file(work.side, export_id, entry.path)
    missing = [entry for entry in part.tree.files if not is_sound(held.get(entry.sha256), entry, work.wish)]
    return replace(part, held=held, missing=tuple(missing))


def _clear(work: Work) -> None:
    """Remove trees that have not been followed for long enough."""
    there, now = work.tools.destination, work.tools.now()
    kept = (there.latest(work.side), work.export_id)
    for each in there.ids(work.side):
        if each not in kept:
            there.retire(work.side, each, now)
    for each in there.retired(work.side, now - work.wish.keep):
        if each not in kept:
            there.remove(work.side, each)
