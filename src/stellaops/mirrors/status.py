"""How a mirror stands: what is in force of each domain, how far behind the evidence it is, and how fresh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from stellaops.bundles import freshness
from stellaops.bundles.freshness import BadFreshness, Freshness
from stellaops.mirrors import forms, sync_state
from stellaops.mirrors.domain import SIDES, Domain, Side
from stellaops.mirrors.ports import Publication, Root
from stellaops.mirrors.publish import PublishTools
from stellaops.mirrors.sync_ports import Destination


@dataclass(frozen=True, slots=True)
class Standing:
    """One side of a domain.

    Attributes:
        publication: None where the side was never published to the place.
        pointed: whether readers follow it.
        behind: sequences of the evidence that it does not hold yet.
        statement: the newest freshness statement about the domain.
    """

    side: Side
    domain: Domain
    publication: Publication | None
    pointed: bool
    behind: int | None
    statement: Freshness | None

    def lag(self, now: datetime) -> int | None:
        """Seconds since it was last said to be the newest; None where that was never said."""
        return None if self.statement is None else int((now - self.statement.issued).total_seconds())


def standings(tenant: str, root: Root, tools: PublishTools) -> Iterator[Standing]:
    """How the domains of a tenant stand at a place."""
    newest = tools.exports.evidence.sequence()
    for side in SIDES:
        publication = tools.publications.current(root.place, side)
        pointed = publication is not None and root.latest(side) == publication.export_id
        behind = None if publication is None else newest - publication.sequence
        for domain in tools.domains.every():
            if domain.tenant == tenant and domain.has(side):
                yield Standing(side, domain, publication, pointed, behind, _statement(domain, side, tools))


def _statement(domain: Domain, side: Side, tools: PublishTools) -> Freshness | None:
    name = forms.freshness_profile(side, domain.id)
    signed = tools.exports.freshness.statements.newest(domain.tenant, name)
    return None if signed is None else freshness.parse(signed.statement)


@dataclass(frozen=True, slots=True)
class Hosted:
    """One side of a domain on a host that syncs it.

    Attributes:
        synced_at: when a sync of it went through last.
        statement: the freshness statement that came with it; nobody has verified it since.
    """

    side: Side
    domain: str
    export_id: str
    synced_at: datetime
    statement: Freshness | None

    def lag(self, now: datetime) -> int:
        """Seconds since it was synced last."""
        return max(0, int((now - self.synced_at).total_seconds()))

    def age(self, now: datetime) -> int | None:
        """Seconds since its publisher last said that it is the newest; None where that was never said."""
        return None if self.statement is None else max(0, int((now - self.statement.issued).total_seconds()))


def hosted(root: Destination) -> Iterator[Hosted]:
    """What a directory holds that is synced; nothing where trees are published into it."""
    for side in SIDES:
        latest = root.latest(side)
        for domain in sorted(root.domains(side, latest)) if latest is not None else ():
            state = sync_state.decode(root.synced(side, domain))
            if latest is not None and state is not None:
                yield Hosted(side, domain, latest, state.synced_at, _held(root.freshness(side, domain)))


def _held(data: bytes | None) -> Freshness | None:
    try:
        return None if data is None else freshness.parse(data)
    except BadFreshness:
        return None
