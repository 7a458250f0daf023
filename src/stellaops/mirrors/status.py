"""How a mirror stands: what is in force of each domain, how far behind the evidence it is, and how fresh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from stellaops.bundles import freshness
from stellaops.bundles.freshness import Freshness
from stellaops.mirrors import forms
from stellaops.mirrors.domain import SIDES, Domain, Side
from stellaops.mirrors.ports import Publication, Root
from stellaops.mirrors.publish import PublishTools


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
