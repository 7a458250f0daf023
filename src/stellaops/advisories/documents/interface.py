"""What every feed offers: tell its documents from other files, cut records out of a file, read their fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from msgspec import Struct

from stellaops.advisories.advisory import Advisory
from stellaops.advisories.canonical import Canonical


class Slice(Struct, frozen=True):
    """One record inside a file: where it begins, and its exact bytes."""

    offset: int
    raw: bytes


class Feed(Protocol):
    """One form of publication."""

    name: str

    def may_hold_documents(self, path: str) -> bool:
        """Whether a file of this name can hold documents (a licence, an index or a signature cannot)."""
        ...

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The records of a file, as exact byte slices.

        Raises:
            Malformed: the file cannot be cut into records.
        """
        ...

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """The canonical form of one record.

        Raises:
            Malformed: the bytes are no document.
        """
        ...

    def read(self, parsed: Any) -> Advisory | None:
        """The fields of a record from its parsed value; None where it is of another kind.

        Raises:
            Malformed: meant as an advisory, but without what identifies it, or of wrong types.
        """
        ...
