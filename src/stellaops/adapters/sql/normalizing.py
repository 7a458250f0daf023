"""Stored documents in one form for all feeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from stellaops.advisories.advisory import Advisory
from stellaops.advisories.canonical import Malformed
from stellaops.advisories.documents.epss import EpssFeed
from stellaops.advisories.documents.kev import KevFeed
from stellaops.advisories.osv_form import osv_documents
from stellaops.core.canonical_json import NotCanonical
from stellaops.ingest.feeds import FEEDS
from stellaops.vex.openvex_form import openvex_document
from stellaops.vex.statement import VexDocument

_NO_ADVISORIES = frozenset((EpssFeed.name, KevFeed.name))
"""Feeds whose records are remarks on vulnerabilities that others describe."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document with what its feed needs to read it again."""

    feed: str
    path: str
    verbatim: bool
    body: bytes
    context: str


def normalized(stored: StoredDocument, key: str) -> Iterator[tuple[str, bytes]]:
    """Keys and documents in canonical JSON, in ascending order; none where the common form cannot carry it.

    Advisories become OSV: one document for each vulnerability that a record of several is about, under its key, a tab
    and the vulnerability. VEX becomes OpenVEX.
    """
    feed = FEEDS[stored.feed]
    try:
        parsed = (
            feed.canonical(stored.path, stored.body).parsed
            if stored.verbatim
            else msgspec.json.decode(stored.body)
        )
        read = feed.read(parsed, stored.context)
        if isinstance(read, VexDocument):
            body = openvex_document(read)
            if body is not None:
                yield key, body
        elif isinstance(read, Advisory) and read.artefact is None and stored.feed not in _NO_ADVISORIES:
            own = parsed if stored.feed == "osv" and isinstance(parsed, dict) else None
            for name, body in osv_documents(read, own):
                yield (f"{key}\t{name}" if name else key), body
    except (Malformed, NotCanonical, msgspec.DecodeError):
        return  # what an older release took, or what the form would change in value
