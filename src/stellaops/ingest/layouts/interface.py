"""What every layout offers: from listings and from what is known, which files to fetch.

A layout does no I/O. Its plan is a generator: it asks for listings one by one, is sent each answer, and returns the
plan. So a provider that must be discovered in several steps reads like the steps, and tests need no server.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from stellaops.core.errors import DependencyFailed, InvalidInput
from stellaops.ingest.companions import NOTHING, Announced
from stellaops.ingest.pull_model import Definition, Known

LARGEST_LISTING = 256 << 20


class BadDefinition(InvalidInput):
    """A source's definition cannot be used; all that is wrong is listed."""

    code = "ERR_SOURCE_DEFINITION"
    hint = "Correct what is listed; docs/use/pull.md says what each layout takes."


class ListingUnusable(DependencyFailed):
    """A listing is cut off, or is not what it should be; nothing that is stored was touched."""

    code = "ERR_PULL_LISTING"
    hint = "Try again later; if it stays, look at the address with a browser: the publisher may have moved."


class Ask(Struct, frozen=True):
    """A listing to fetch; `optional` ones may be absent, which some servers say with 400 or 403."""

    url: str
    optional: bool = False
    limit: int = LARGEST_LISTING


class Answer(Struct, frozen=True):
    """A listing.

    Attributes:
        content: empty where `missing`, which an absent listing is that may be absent.
        url: where it came from in the end, after redirects.
        unchanged: the same bytes as in the last pull that succeeded.
        fetched_at: when the server was asked.
    """

    content: bytes
    url: str
    unchanged: bool
    missing: bool
    fetched_at: datetime


class Want(Struct, frozen=True):
    """A file to fetch.

    Attributes:
        path: its place below the import root; keys of some databases hang on it.
        mark: the version that the listing states (`Known.mark`).
        size: in bytes, where the listing states it.
        hashes: what the content must have, by algorithm (`sha256`, `sha512`), in hexadecimal.
        beside: files that belong to it, such as hashes and signatures, by kind; kinds that name an algorithm are
            compared by the pull, others are handed to the layout's `verify`.
        optional: one that is gone is no failure and no gap.
        inside: the folder of an archive that belongs to the source; all of it when empty.
        whole: it is fetched also where the server would say that it is the same.
    """

    url: str
    path: str
    mark: str = ""
    size: int | None = None
    hashes: Mapping[str, str] = {}
    beside: Mapping[str, str] = {}
    optional: bool = False
    inside: str = ""
    whole: bool = False


class Plan(Struct, frozen=True):
    """What a pull fetches.

    Attributes:
        full: everything is fetched again, whatever is known.
        complete: the wanted files are all of the source, so that a prune may follow.
        cursor: for the next pull, once this one succeeded.
        listed: files in the listing.
        dated_by_archives: the wanted archives may be older than the listing; the cursor is not after their own date.
        files: what the listing says of every file, where the pull should know it although it fetches an archive.
        gone: files that were known and are not listed any more.
        taken_back: places of documents that the publisher says to be deleted.
        keys: what the publisher's signatures are checked by, where the import is given no key.
        databases: that the place offers, whichever the source takes; None where it does not say.
    """

    wants: tuple[Want, ...]
    full: bool = False
    complete: bool = False
    cursor: str = ""
    listed: int = 0
    dated_by_archives: bool = False
    files: Mapping[str, Known] = {}
    gone: int = 0
    taken_back: tuple[str, ...] = ()
    keys: Announced = NOTHING
    databases: tuple[str, ...] | None = None


class Situation(Struct, frozen=True):
    """What a layout plans from. `full`: everything is to be fetched again."""

    definition: Definition
    cursor: str = ""
    known: Mapping[str, Known] = {}
    full: bool = False


Planning = Generator[Ask, Answer, Plan]


class Layout(Protocol):
    """One way of laying out files."""

    name: str

    @property
    def options(self) -> Mapping[str, str]:
        """The options that definitions may have, with their meaning."""
        ...

    def check(self, definition: Definition) -> None:
        """Refuse a definition that cannot work.

        Raises:
            BadDefinition: see there.
        """
        ...

    def plan(self, situation: Situation) -> Planning:
        """Ask for listings, then say what to fetch.

        Raises:
            ListingUnusable: see there.
        """
        ...

    def keeps(self, definition: Definition, path: str) -> bool:
        """Whether a file, also one out of an archive, belongs to the source."""
        ...

    def verify(self, want: Want, content: bytes, beside: Mapping[str, bytes]) -> str:
        """What is wrong with a fetched document by the files beside it; empty for nothing."""
        ...


class PlainLayout:
    """What most layouts do where they have nothing to add."""

    def keeps(self, definition: Definition, path: str) -> bool:
        """See the interface: the option `prefixes` picks files by how their names begin."""
        told = definition.options.get("prefixes", ())
        prefixes = (told,) if isinstance(told, str) else tuple(told)
        return not prefixes or path.rpartition("/")[2].startswith(prefixes)

    def verify(self, want: Want, content: bytes, beside: Mapping[str, bytes]) -> str:
        """See the interface: hashes are compared by the pull itself."""
        return ""


def check_options(layout: Layout, definition: Definition) -> None:
    """Refuse options that the layout does not have, and values of no usable form.

    Raises:
        BadDefinition: see there.
    """
    problems = [f"option {name!r}: not one of layout {layout.name}" for name in definition.options
                if name not in layout.options]  # fmt: skip
    for name, value in definition.options.items():
        texts = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(text, str) for text in texts):
            problems.append(f"option {name!r}: a text or a list of texts is needed")
    if problems:
        raise BadDefinition(f"source {definition.name!r}: {'; '.join(problems)}", details=problems)
