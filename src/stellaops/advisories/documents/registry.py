"""The feeds that can be imported, by name."""

from __future__ import annotations

from stellaops.advisories.documents.alpine_secdb import AlpineSecdbFeed
from stellaops.advisories.documents.cpansec import CpansecFeed
from stellaops.advisories.documents.csaf import CsafFeed
from stellaops.advisories.documents.cve import CveFeed
from stellaops.advisories.documents.debian_dsa import DebianListsFeed
from stellaops.advisories.documents.debian_tracker import DebianTrackerFeed
from stellaops.advisories.documents.elixir import ElixirFeed
from stellaops.advisories.documents.epss import EpssFeed
from stellaops.advisories.documents.friendsofphp import FriendsOfPhpFeed
from stellaops.advisories.documents.interface import Feed
from stellaops.advisories.documents.kev import KevFeed
from stellaops.advisories.documents.maven_index import MavenIndexFeed, head_of_list
from stellaops.advisories.documents.mozilla import MozillaFeed
from stellaops.advisories.documents.nodejs_wg import NodejsWgFeed
from stellaops.advisories.documents.nvd import NvdFeed
from stellaops.advisories.documents.osv import OsvFeed
from stellaops.advisories.documents.retirejs import RetireJsFeed
from stellaops.advisories.documents.rubysec import RubysecFeed

FEEDS: dict[str, Feed] = {
    feed.name: feed
    for feed in (
        CsafFeed(),
        MavenIndexFeed(),
        AlpineSecdbFeed(),
        DebianTrackerFeed(),
        DebianListsFeed(),
        CveFeed(),
        NvdFeed(),
        KevFeed(),
        EpssFeed(),
        RubysecFeed(),
        ElixirFeed(),
        FriendsOfPhpFeed(),
        MozillaFeed(),
        CpansecFeed(),
        NodejsWgFeed(),
        RetireJsFeed(),
        OsvFeed(),
    )
}
"""In the order in which they are asked whether a file is of their form: the most particular first."""


def tell(path: str, content: bytes) -> Feed | None:
    """The feed that a file is of, or None."""
    return next((feed for feed in FEEDS.values() if feed.recognises(path, content)), None)


def head_of_lines(path: str, head: bytes) -> bytes | None:
    """What must stand before any lines of a file for its feed to read them; None where it reads files as a whole.

    Args:
        head: the beginning of the file.
    """
    return head_of_list(path, head)


ARTEFACT_FEEDS = frozenset((MavenIndexFeed.name,))
"""The feeds whose records are artefacts, not advisories."""
