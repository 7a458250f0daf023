"""The feeds that can be imported, by name."""

from __future__ import annotations

from stellaops.advisories.documents.interface import Feed
from stellaops.advisories.documents.osv import OsvFeed

FEEDS: dict[str, Feed] = {feed.name: feed for feed in (OsvFeed(),)}
"""In the order in which they are asked whether a file is of their form: the most particular first."""


def tell(path: str, content: bytes) -> Feed | None:
    """The feed that a file is of, or None."""
    return next((feed for feed in FEEDS.values() if feed.recognises(path, content)), None)
