"""Version ranges as products name them: `vers:` texts, and the loose forms beside them.

CSAF says that the name of a `product_version_range` branch is a `vers:` text (`vers:npm/>=1.0|<1.4.2`) or, failing
that, free text. What real documents hold is mostly `vers:all/*`, comparators without a scheme (`<V7.23.37`, `>= 7.0 |
< 7.1`), and Siemens' `All versions < V4.33`. These are read; other words ("prior to 5") are not guessed at.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from msgspec import Struct

_VERS = re.compile(r"vers:([a-zA-Z0-9.+-]+)/(.*)$", re.DOTALL)
_BOUND = re.compile(r"(>=|<=|!=|=|<|>)?\s*([^\s<>=!|,]+(?: [^\s<>=!|,]+)*)$")
_ALL = re.compile(r"all versions\b\s*", re.IGNORECASE)
_COMPARATORS = ("<", ">", "=", "!")


class Bound(Struct, frozen=True):
    """One constraint: a comparator (`= != < <= > >=`) and a version."""

    comparator: str
    version: str


class VersionRange(Struct, frozen=True):
    """A set of versions.

    Attributes:
        scheme: the versioning scheme, which is a purl type; `all` where every version is meant, `none` for none, and
            empty where the text names no scheme.
        bounds: in the order given; empty for all versions, and for none.
    """

    scheme: str
    bounds: tuple[Bound, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether every version is meant."""
        return not self.bounds and self.scheme != "none"


def parse(text: str) -> VersionRange | None:
    """The range that a text means; None where it is none of the forms above."""
    text = text.strip()
    found = _VERS.match(text)
    if found is None:
        return _loose(text)
    scheme, rest = found[1].lower(), found[2].strip()
    if rest == "*":
        return VersionRange(scheme)
    if scheme == "none" and not rest:
        return VersionRange("none")
    bounds = _bounds(rest)
    return VersionRange("" if scheme == "all" else scheme, bounds) if bounds else None


def _loose(text: str) -> VersionRange | None:
    rest = _ALL.sub("", text, count=1) if _ALL.match(text) else text
    if not rest and text:
        return VersionRange("all")
    bounds = _bounds(rest) if rest.startswith(_COMPARATORS) else None
    return VersionRange("", bounds) if bounds else None


def _bounds(text: str) -> tuple[Bound, ...] | None:
    """The constraints of a text; None where one of them cannot be read."""
    bounds = []
    for piece in re.split(r"[|,]", text):
        found = _BOUND.match(piece.strip())
        if found is None:
            return None
        version = unquote(found[2])
        if version == "*":
            return None
        bounds.append(Bound(found[1] or "=", version))
    return tuple(bounds)
