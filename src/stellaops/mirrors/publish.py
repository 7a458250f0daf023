"""Publishing: one snapshot for all domains, a tree for each side, then the switch of what readers follow.

A tree is staged beside its place, signed, brought to the disk and given its name in one rename. Only then does the
record of publications name it; the pointer that readers follow is rendered from that record, last. A process that dies
in between leaves the old pointer, or the record, which the next publication renders first. Trees of ids that are not
the newest any more stay for a while, so that a reader who has begun with one can end with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from stellaops.bundles import freshness
from stellaops.bundles.freshness import Freshness
from stellaops.exports.errors import GateRefused
from stellaops.exports.guarded_signer import tried_signer
from stellaops.exports.issue_freshness import State, issue_freshness
from stellaops.exports.plan_run import Tools
from stellaops.mirrors import forms, make_tree
from stellaops.mirrors.domain import SIDES, Domain, Side
from stellaops.mirrors.errors import NoDomains
from stellaops.mirrors.make_tree import Plan
from stellaops.mirrors.ports import Bucket, DirectoryRoot, Domains, Publication, Publications, Root
from stellaops.mirrors.tree import Tree
from stellaops.signing.interface import Signer

KEEP = timedelta(hours=24)
"""How long a superseded id stays at least."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PublishTools:
    """Everything that publishing works with.

    Attributes:
        keep: how long superseded ids stay; never less than `KEEP`.
    """

    exports: Tools
    domains: Domains
    publications: Publications
    keep: timedelta = KEEP


@dataclass(frozen=True, slots=True)
class Published:
    """What was published for a domain on one side.

    Attributes:
        changed: whether the side's export id is another one than before.
        bytes: of all files of the domain.
        freshness: None where a later snapshot was published meanwhile.
    """

    side: Side
    domain: str
    export_id: str
    changed: bool
    bytes: int
    freshness: Freshness | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a publication did."""

    sequence: int
    published: tuple[Published, ...]
    pruned: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def publish(
    root: DirectoryRoot,
    tools: PublishTools,
    copies: Sequence[Bucket] = (),
    told: Progress = lambda _: None,
) -> Outcome:
    """Publish all domains into a directory, and from there into buckets.

    Raises:
        NoDomains, EmptyDomain, GateRefused, PublicationConflict, SyncRuns: see there.
        StellaError: the key of a tenant cannot sign, or a disk or a bucket does not take the tree.
    """
    domains = tools.domains.every()
    if not domains:
        raise NoDomains("no mirror domain is defined")
    exports = tools.exports
    with root.turn():
        sequence = exports.evidence.sequence()
        _demand_finished(domains, exports)
        exports.projections.complete()
        keys = {(each.tenant, each.key_ref) for each in domains}
        tried = {(tenant, key): tried_signer(exports.keys, tenant, key) for tenant, key in keys}
        signers = {each.id: tried[each.tenant, each.key_ref] for each in domains}
        outcome = Outcome(sequence, ())
        for side in SIDES:
            mine = [each for each in domains if each.has(side)]
            if mine:
                work = _Work(side, mine, sequence, signers, root, tools, told)
                outcome = _joined(outcome, _publish_side(work, copies))
    return outcome


def _joined(one: Outcome, other: Outcome) -> Outcome:
    return Outcome(
        one.sequence,
        one.published + other.published,
        one.pruned + other.pruned,
        one.remarks + other.remarks,
    )


def _demand_finished(domains: Sequence[Domain], tools: Tools) -> None:
    """A source in the middle of its first import, or of one that shows, would be published as half of itself."""
    wanted = [each.selectors(side).sources for each in domains for side in SIDES if each.has(side)]
    unfinished = [
        source for source in tools.evidence.unfinished() if any(not some or source in some for some in wanted)
    ]
    if unfinished:
        raise GateRefused(
            f"an import into {', '.join(unfinished)} is not finished",
            hint="Finish the import that the message names, then publish again.",
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """One side's publication: what it is made of, and with what."""

    side: Side
    domains: Sequence[Domain]
    sequence: int
    signers: Mapping[str, Signer]
    root: DirectoryRoot
    tools: PublishTools
    told: Progress
    given_up: Sequence[str] = ()


def _publish_side(work: _Work, copies: Sequence[Bucket]) -> Outcome:
    before = _settled(work.root, work)
    work = replace(work, given_up=_given_up(work, before))
    plans = [
        make_tree.plan(work.side, each, work.sequence, work.signers[each.id].key_id, work.tools.exports)
        for each in work.domains
    ]
    export_id, remarks = _tree(work, plans, before)
    issued = {each.domain.id: _issue(work, each, export_id) for each in plans}
    tree = _demanded(work.root.tree(work.side, export_id))
    _make_newest(work.root, work, export_id, plans)
    for bucket in copies:
        work.told(f"{work.side} to {bucket.place}")
        bucket.send(work.side, export_id, tree)
        _make_newest(bucket, work, export_id, plans)
    pruned = [each for place in (work.root, *copies) for each in _prune(place, work)]
    changed = before is None or before.export_id != export_id
    published = tuple(
        Published(work.side, each.id, export_id, changed, _size(tree, each.id), issued[each.id])
        for each in work.domains
    )
    return Outcome(work.sequence, published, tuple(pruned), remarks)


def _settled(place: Root, work: _Work) -> Publication | None:
    """What is the newest at a place, with readers following it: a process may have died before that."""
    current = work.tools.publications.current(place.place, work.side)
    if current is None or not place.has(work.side, current.export_id):
        return None
    if place.latest(work.side) != current.export_id:
        place.point(current)
    return current


def _given_up(work: _Work, before: Publication | None) -> Sequence[str]:
    """Domains that readers had on this side and have no longer, sorted.

    Those of the tree in force count too: a release that kept no record may have published them.
    """
    records, side = work.tools.publications, work.side
    held = work.root.tree(side, before.export_id) if before is not None else None
    in_force = {each.name for each in (held / forms.PLACES).iterdir()} if held is not None else set()
    mine = {each.id for each in work.domains}
    records.offer(side, mine | in_force)
    return sorted(set(records.offered(side)) - mine)


def _tree(work: _Work, plans: Sequence[Plan], before: Publication | None) -> tuple[str, tuple[str, ...]]:
    """Have the tree of the plans at its place; its id, and what whoever asked should know."""
    side, root = work.side, work.root
    if before is not None and before.states == make_tree.states(plans, work.given_up):
        return before.export_id, ()
    held = root.tree(side, before.export_id) if before is not None else None
    with root.stage(side) as staging:
        tree = Tree(staging, held)
        parts = []
        for each in plans:
            work.told(f"{side} {each.domain.id}")
            parts.append(make_tree.build(each, tree, work.tools.exports))
        export_id = make_tree.identify(side, parts, tree, work.given_up)
        if not _has_all(root, work, export_id):
            work.told(f"{side} signing")
            make_tree.finish(side, export_id, parts, tree, work.signers, given_up=work.given_up)
            root.remove(side, export_id)
            root.keep(side, export_id, staging)
    return export_id, tuple(remark for part in parts for remark in part.remarks)


def _has_all(root: DirectoryRoot, work: _Work, export_id: str) -> bool:
    """Whether the tree of an id is there with every domain: a sync of some domains may have left it without others."""
    tree = root.tree(work.side, export_id)
    return tree is not None and all(
        (tree / forms.place(each.id) / forms.TREE).is_file() for each in work.domains
    )


def _issue(work: _Work, plan: Plan, export_id: str) -> Freshness | None:
    """Say that the tree is the newest that a domain has."""
    domain, tools = plan.domain, work.tools.exports.freshness
    state = State(
        domain.tenant,
        forms.freshness_profile(work.side, domain.id),
        export_id,
        [source.name for source in plan.state.sources],
        domain.cadence,
        work.sequence,
    )
    return issue_freshness(state, tools.sources(), tools.statements, work.signers[domain.id], tools.now)


def _make_newest(place: Root, work: _Work, export_id: str, plans: Sequence[Plan]) -> None:
    """Statements first, then the record, then the pointer that is rendered from it."""
    side, records, exports = work.side, work.tools.publications, work.tools.exports
    for each in plans:
        tenant, name = each.domain.tenant, each.domain.id
        signed = exports.freshness.statements.newest(tenant, forms.freshness_profile(side, name))
        if signed is not None and freshness.parse(signed.statement).export_id == export_id:
            place.put_freshness(side, name, {"": signed.statement, ".sig": signed.signature})
    current, states = records.current(place.place, side), make_tree.states(plans, work.given_up)
    if current is None or current.export_id != export_id:
        number = 1 if current is None else current.number + 1
        current = Publication(side, number, export_id, work.sequence, states, exports.now())
        records.add(place.place, current)
    elif (current.sequence, current.states) != (work.sequence, states):
        current = replace(current, sequence=work.sequence, states=states)
        records.confirm(place.place, current)
    place.point(current)
    place.drop_freshness(side, [each.domain.id for each in plans])


def _prune(place: Root, work: _Work) -> Iterable[str]:
    """Remove what has been superseded for long enough."""
    before = work.tools.exports.now() - max(work.tools.keep, KEEP)
    for export_id in work.tools.publications.superseded(place.place, work.side, before):
        place.remove(work.side, export_id)
        work.tools.publications.forget(place.place, work.side, export_id)
        yield export_id


def _demanded(tree: Path | None) -> Path:
    assert tree is not None  # noqa: S101 - it was kept a moment ago, under the root's turn
    return tree


def _size(tree: Path, domain: str) -> int:
    listed = forms.parse_tree((tree / forms.place(domain) / forms.TREE).read_bytes())
    return sum(entry.bytes for entry in listed.files)
