"""An import that holds several editions of a complete listing is several imports, in the order of their dates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from stellaops.advisories.documents.interface import Feed, Listing
from stellaops.core import digests
from stellaops.ingest.model import ImportReport
from stellaops.ingest.ports import Inputs, Member


@dataclass(frozen=True, slots=True)
class Edition:
    """The files of one date.

    Attributes:
        inputs: of the whole import.
        scopes: how the keys begin that these files list completely.
        left_out: the places of files that belong to another edition.
        date: empty where all files belong together.
    """

    inputs: Inputs
    scopes: tuple[str, ...] = ()
    left_out: frozenset[int] = frozenset()
    date: str = ""

    def fingerprint(self) -> str:
        """Identifies the edition, so that its interrupted import can go on."""
        whole = self.inputs.fingerprint()
        if not self.date:
            return whole
        return digests.of_hash(hashlib.sha256(f"{whole}\n{self.date}\n".encode()))

    def members(self, skip: int = 0) -> Iterator[Member]:
        """Its files, from the given place on."""
        if not self.left_out:
            return self.inputs.members(skip)
        places = enumerate(self.inputs.members())
        return islice((member for place, member in places if place not in self.left_out), skip, None)


def editions(feed: Feed, inputs: Inputs) -> Sequence[Edition]:
    """The editions of an import, the oldest first.

    Files that are no listing go with the last edition. Where one date brings several listings of one scope, they
    belong together. A file that could not be read at all is no complete listing: then nothing is let go.
    """
    if not feed.publishes_listings:
        return (Edition(inputs),)
    places: dict[int, Listing] = {}
    complete = True
    for place, member in enumerate(inputs.members()):
        if member.problem:
            complete = complete and not feed.may_hold_documents(member.path)
            continue
        listing = feed.listing(member.path, member.content)
        if listing is not None:
            places[place] = listing
    if not places:
        return (Edition(inputs),)
    dates = sorted({listing.date for listing in places.values()})
    last = dates[-1]
    found = []
    for date in dates:
        scopes = tuple(sorted({listing.scope for listing in places.values() if listing.date == date}))
        others = frozenset(place for place, listing in places.items() if listing.date != date)
        if date != last:
            others |= _not_listed(inputs, places)
        found.append(Edition(inputs, scopes if complete else (), others, date if len(dates) > 1 else ""))
    return found


def _not_listed(inputs: Inputs, places: dict[int, Listing]) -> frozenset[int]:
    return frozenset(place for place, _ in enumerate(inputs.members()) if place not in places)


def total(reports: Sequence[ImportReport]) -> ImportReport:
    """The sum of what several editions did, with the state after the last."""
    last = reports[-1]
    if len(reports) == 1:
        return last
    counted = (
        "read",
        "added",
        "changed",
        "unchanged",
        "withdrawn",
        "vanished",
        "quarantined",
        "equal_keys",
        "ignored",
    )
    sums = {name: sum(getattr(report, name) for report in reports) for name in counted}
    return replace(last, **sums, resumed=any(report.resumed for report in reports))
