"""Numbers of things, as people read them."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """A number with the noun in its singular or plural: `1 file`, `1,200 files`; of nouns that take an `s`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
