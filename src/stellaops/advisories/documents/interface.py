"""What every feed offers: tell its documents from other files, cut records out of a file, read their fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from stellaops.advisories.advisory import Advisory
from stellaops.advisories.canonical import Canonical

Told_co = TypeVar("Told_co", covariant=True)


class Slice(Struct, frozen=True):
    """One record inside a file: where it begins, and its exact bytes.

    Attributes:
        context: what the file says around the record and gives it its meaning, such as the release that a list of
            packages is for; in the feed's own words, and only what does not change with every publication.
    """

    offset: int
    raw: bytes
    context: str = ""


class Listing(Struct, frozen=True, order=True):
    """What a file that is a complete listing says of itself.

    Attributes:
        date: by which several listings are put in order; any form that sorts as text.
        scope: how the keys begin that it lists completely; empty for all keys of the source.
    """

    date: str
    scope: str = ""


class Form(Protocol[Told_co]):
    """One form of publication, whose records are read as `Told_co`.

    Attributes:
        name: as in `--feed`.
        publishes_listings: whether its files can be complete listings; else `listing` is not asked.
    """

    name: str
    publishes_listings: bool

    def recognises(self, path: str, content: bytes) -> bool:
        """Whether a file is of this form, told from its content; never raises."""
        ...

    def listing(self, path: str, content: bytes) -> Listing | None:
        """What the file lists completely, so that what it lacks has vanished; None where it says nothing of that."""
        ...

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

    def read(self, parsed: Any, context: str = "") -> Told_co | None:
        """The fields of a record from its parsed value and the context of its slice; None where it is of another kind.

        The record's key is made from the id that this gives, by the rule of its database.

        Raises:
            Malformed: meant as one, but without what identifies it, or of wrong types.
        """
        ...


class Feed(Form[Advisory], Protocol):
    """A form in which advisories are published."""
