"""The feeds that can be imported, by name."""

from __future__ import annotations

from stellaops.advisories.documents.interface import Feed
from stellaops.advisories.documents.osv import OsvFeed

FEEDS: dict[str, Feed] = {feed.name: feed for feed in (OsvFeed(),)}
