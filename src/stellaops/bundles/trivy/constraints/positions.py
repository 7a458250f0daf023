"""A matcher for the regular languages of constraints, linear in the text whatever the text is.

Trivy's grammars are ambiguous (`1.2.34.5` may be cut as `1.2.3` and `4.5`), so that a backtracking matcher needs
exponential time for some texts, and databases to be verified come from anywhere. Here a pattern maps *all* places
that matching may have reached to all places it may reach next. A set of places is one integer: bit i stands for
"before character i", so that a step over a character is a shift.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias


class Text:
    """A text, and for each set of characters the places where one of them stands."""

    def __init__(self, text: str) -> None:
        self.end = 1 << len(text)
        self._text = text
        self._places: dict[str, int] = {}

    def places(self, characters: str) -> int:
        """Bit i is set if character i is one of `characters`."""
        found = self._places.get(characters)
        if found is None:
            found = sum(1 << at for at, character in enumerate(self._text) if character in characters)
            self._places[characters] = found
        return found


Pattern: TypeAlias = Callable[[Text, int], int]


def one(characters: str) -> Pattern:
    """One of some characters."""
    return lambda text, at: (at & text.places(characters)) << 1


def run(characters: str) -> Pattern:
    """One or more of some characters."""

    def step(text: Text, at: int) -> int:
        places = text.places(characters)
        begun = at & places
        # Adding carries a bit through a stretch of ones; what changed within the stretch, or just after, was reached.
        reached = ((begun + places) ^ places) | begun
        return (reached & places) << 1

    return step


def sequence(*patterns: Pattern) -> Pattern:
    """One after the other."""

    def step(text: Text, at: int) -> int:
        for pattern in patterns:
            at = pattern(text, at)
            if not at:
                break
        return at

    return step


def either(*patterns: Pattern) -> Pattern:
    """Any of them."""

    def step(text: Text, at: int) -> int:
        reached = 0
        for pattern in patterns:
            reached |= pattern(text, at)
        return reached

    return step


def maybe(*patterns: Pattern) -> Pattern:
    """The sequence, or nothing."""
    whole = sequence(*patterns)
    return lambda text, at: at | whole(text, at)


def repeated(*patterns: Pattern) -> Pattern:
    """The sequence any number of times, or nothing."""
    whole = sequence(*patterns)

    def step(text: Text, at: int) -> int:
        reached = fresh = at
        while fresh:
            fresh = whole(text, fresh) & ~reached
            reached |= fresh
        return reached

    return step


def word(characters: str) -> Pattern:
    """These characters in this order."""
    return sequence(*map(one, characters))


def matches(pattern: Pattern, text: str) -> bool:
    """Whether the pattern matches the whole text."""
    prepared = Text(text)
    return bool(pattern(prepared, 1) & prepared.end)
