"""Items some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

AT_ONCE = 500
"""Few enough for the parameters of one statement."""
Item = TypeVar("Item")


def pieces(items: Sequence[Item], size: int = AT_ONCE) -> Iterator[Sequence[Item]]:
    """The items in order, up to `size` at a time."""
    return (items[place : place + size] for place in range(0, len(items), size))
