"""What a version scheme is: a parser whose results are totally ordered by a sort key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from stellaops.core.errors import InvalidInput

LONGEST = 1024
"""Characters; no real version comes near, and a longer text would make numbers that are slow to convert."""

Key: TypeAlias = tuple[Any, ...]
"""Sort key of a version; keys are comparable with the keys of the same scheme only."""


class InvalidVersion(InvalidInput):
    """A text that is no version of the scheme."""

    code = "ERR_MATCHING_INVALID_VERSION"
    hint = "Look at the version in the source document; its ecosystem cannot order it."


class Ordered(Protocol):
    """A parsed version that knows its place in the scheme's order."""

    @property
    def key(self) -> Key:
        """The sort key."""
        ...


V_co = TypeVar("V_co", bound=Ordered, covariant=True)
V = TypeVar("V", bound=Ordered)


class VersionScheme(Protocol[V_co]):
    """An ecosystem's version rules."""

    @property
    def name(self) -> str:
        """The scheme's own name, such as `pep440`."""
        ...

    def parse(self, text: str) -> V_co:
        """The version that a text states.

        Raises:
            InvalidVersion: the scheme has no such version.
        """
        ...

    def key(self, text: str) -> Key:
        """The sort key of a version's text.

        Raises:
            InvalidVersion: the scheme has no such version.
        """
        ...

    def compare(self, a: str, b: str) -> int:
        """-1, 0 or 1 as `a` is before, equal to or after `b`.

        Raises:
            InvalidVersion: the scheme has no such version.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeyedScheme(Generic[V]):
    """A scheme made of a name and a parser; the parser returns None for what is no version."""

    name: str
    parser: Callable[[str], V | None]

    def parse(self, text: str) -> V:
        """See `VersionScheme.parse`."""
        found = self.parser(text) if len(text) <= LONGEST else None
        if found is None:
            raise InvalidVersion(f"{text[:80]!r} is no {self.name} version")
        return found

    def key(self, text: str) -> Key:
        """See `VersionScheme.key`."""
        return self.parse(text).key

    def compare(self, a: str, b: str) -> int:
        """See `VersionScheme.compare`."""
        left, right = self.key(a), self.key(b)
        return (left > right) - (left < right)
