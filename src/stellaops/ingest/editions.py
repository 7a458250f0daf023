"""An import that holds several editions of a complete listing is several imports, in the order of their dates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from stellaops.advisories.documents.interface import Listing
from stellaops.core import digests
from stellaops.ingest.feeds import AnyFeed
from stellaops.ingest.model import ImportReport
from stellaops.ingest.ports import Inputs, Member


@dataclass(frozen=True, slots=True)
class Edition:
    """The files of one date.

    Attributes:
        inputs: of the whole import.
        scopes: how the keys begin that these files list completely.
        left_out: the places of files that belong to another edition, or to none.
        date: empty where all files belong together.
        dates: of these listings, by their scopes; without those that have none.
        outdated: how many files are listings of before what the source has; they belong to no edition.
    """

    inputs: Inputs
    scopes: tuple[str, ...] = ()
    left_out: frozenset[int] = frozenset()
    date: str = ""
    dates: Mapping[str, str] = field(default_factory=dict)
    outdated: int = 0

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


def editions(feed: AnyFeed, inputs: Inputs, known: Mapping[str, str] | None = None) -> Sequence[Edition]:
    """The editions of an import, the oldest first.

    Files that are no listing go with the last edition. Where one date brings several listings of one scope, they
    belong together. A file that could not be read at all is no complete listing: then nothing is let go.

    What comes of several listings must not depend on the order in which they arrive: one of before what the source
    has already is left out.

    Args:
        known: the dates of the newest listings that the source has taken in, by their scopes.
    """
    if not feed.publishes_listings:
        return (Edition(inputs),)
    places, complete = _listings(feed, inputs)
    outdated = _outdated(places, known or {})
    current = {place: listing for place, listing in places.items() if place not in outdated}
    if not current:
        return (Edition(inputs, left_out=outdated, outdated=len(outdated)),)
    dates = sorted({listing.date for listing in current.values()})
    several = len({listing.date for listing in places.values()}) > 1
    found = []
    for date in dates:
        mine = {listing.scope for listing in current.values() if listing.date == date}
        others = outdated | frozenset(place for place, listing in current.items() if listing.date != date)
        if date != dates[-1]:
            others |= _not_listed(inputs, places)
        found.append(
            Edition(
                inputs,
                tuple(sorted(mine)) if complete else (),
                others,
                date if several else "",
                dict.fromkeys(sorted(mine), date) if date else {},
                len(outdated) if date == dates[-1] else 0,
            )
        )
    return found


def _listings(feed: AnyFeed, inputs: Inputs) -> tuple[dict[int, Listing], bool]:
    """The listings by their places, and whether every file that may be one could be read."""
    places: dict[int, Listing] = {}
    complete = True
    for place, member in enumerate(inputs.members()):
        if member.problem:
            complete = complete and not feed.may_hold_documents(member.path)
            continue
        listing = feed.listing(member.path, member.content)
        if listing is not None:
            places[place] = listing
    return places, complete


def _outdated(places: Mapping[int, Listing], known: Mapping[str, str]) -> frozenset[int]:
    """The listings of before what is known, and those of just that which a newer one follows."""
    newest: dict[str, str] = {}
    for listing in places.values():
        newest[listing.scope] = max(newest.get(listing.scope, ""), listing.date)
    found = set()
    for place, (date, scope) in ((place, (each.date, each.scope)) for place, each in places.items()):
        reached = known.get(scope, "")
        if date and (date < reached or (date == reached and date < newest[scope])):
            found.add(place)
    return frozenset(found)


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
        "outdated",
    )
    sums = {name: sum(getattr(report, name) for report in reports) for name in counted}
    return replace(last, **sums, resumed=any(report.resumed for report in reports))
