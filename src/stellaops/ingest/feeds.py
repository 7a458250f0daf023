"""The sides of the evidence: advisories, VEX, what tenants bring in; each with its feeds. A source belongs to one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from stellaops.advisories.advisory import Advisory
from stellaops.advisories.documents import registry as advisories
from stellaops.advisories.documents.interface import Form
from stellaops.policy.feed import PolicyFeed
from stellaops.policy.overlay import Overlay
from stellaops.sboms.component import Sbom
from stellaops.sboms.feed import SbomFeed
from stellaops.vex.documents import registry as vex
from stellaops.vex.statement import VexDocument

Document = Advisory | VexDocument | Sbom | Overlay
"""What a record can be read as."""

AnyFeed = Form[Document]
"""A feed of any side."""


class Side(StrEnum):
    """What a source's documents are taken as; some forms, such as CSAF, can be either."""

    ADVISORIES = "advisories"
    VEX = "VEX"
    SBOMS = "bills of materials"
    POLICY = "policy overlays"


_SIDES: dict[Side, dict[str, AnyFeed]] = {
    Side.ADVISORIES: dict(advisories.FEEDS),
    Side.VEX: dict(vex.FEEDS),
    Side.SBOMS: {SbomFeed.name: SbomFeed()},
    Side.POLICY: {PolicyFeed.name: PolicyFeed()},
}

OWNED = frozenset((Side.SBOMS, Side.POLICY))
"""The sides whose sources belong to one tenant."""

FEEDS: dict[str, AnyFeed] = {name: feed for feeds in _SIDES.values() for name, feed in feeds.items()}
"""All feeds by name."""

VEX_FEEDS = frozenset(vex.FEEDS)
"""The names of those whose records are VEX."""


def feeds_of(side: Side) -> Mapping[str, AnyFeed]:
    """The feeds of one side, in the order in which they are asked whether a file is of their form."""
    return _SIDES[side]


def side_of(feed: str) -> Side:
    """The side that a feed belongs to."""
    return next((side for side, feeds in _SIDES.items() if feed in feeds), Side.ADVISORIES)


def tell(side: Side, path: str, content: bytes) -> AnyFeed | None:
    """The feed of a side that a file is of, or None."""
    return next((feed for feed in _SIDES[side].values() if feed.recognises(path, content)), None)
