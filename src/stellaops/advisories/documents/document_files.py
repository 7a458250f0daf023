"""What forms have in common whose files are one document each."""

from __future__ import annotations

from collections.abc import Iterable

from stellaops.advisories.documents.interface import Listing, Slice


class DocumentFiles:
    """Part of `interface.Form`: a file is its own record, and says nothing of what else there is."""

    publishes_listings = False

    def listing(self, path: str, content: bytes) -> Listing | None:
        """See the interface: never asked."""
        return None

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The file itself."""
        return (Slice(0, content),)
