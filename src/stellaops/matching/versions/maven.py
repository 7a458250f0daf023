"""Versions of Maven artifacts, after the version order specification of the POM reference.

A version is cut at `.`, at `-` and wherever digits meet letters (which counts as `-`). Values that say nothing (0, an
empty one, `final`, `ga`, `release`) are dropped from the end of every hyphened part. A qualifier orders the same after
`.` as after `-`, so it begins a part of its own either way; this also keeps the order total.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stellaops.matching.versions.interface import Key, KeyedScheme

_TOKEN = re.compile(r"([.-]?)([0-9]+|[^0-9.-]+|(?=[.-]|$))")
_QUALIFIERS = {
    name: rank for rank, name in enumerate(["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"])
}
_ALIASES = {"ga": "", "final": "", "release": "", "cr": "rc"}
_SHORT = {"a": "alpha", "b": "beta", "m": "milestone"}

# At one place: qualifiers of a pre-release, nothing, later qualifiers, a number after `-`, a number after `.`.
_BEFORE_RELEASE, _END, _AFTER_RELEASE, _HYPHEN_NUMBER, _DOT_NUMBER = range(5)


@dataclass(frozen=True, slots=True)
class MavenVersion:
    """Tokens as (separator, value): separator `.` or `-`, value a number or a qualifier without alias."""

    tokens: tuple[tuple[str, int | str], ...]

    @property
    def key(self) -> Key:
        """One entry a token, and an end."""
        return (*(_entry(separator, value) for separator, value in self.tokens), (_END, 0, ""))


def _entry(separator: str, value: int | str) -> tuple[int, int, str]:
    if isinstance(value, int):
        return (_HYPHEN_NUMBER if separator == "-" else _DOT_NUMBER, value, "")
    rank = _QUALIFIERS.get(value, len(_QUALIFIERS))
    place = _BEFORE_RELEASE if rank < _QUALIFIERS[""] else _AFTER_RELEASE
    return (place, rank, value if rank == len(_QUALIFIERS) else "")


def _parse(text: str) -> MavenVersion | None:
    if not text or set(text) & set(" \t\r\n,[]()"):
        return None
    parts: list[list[tuple[str, int | str]]] = [[]]
    for separator, value in _tokens(text.lower()):
        if separator == "-":
            parts.append([])
        parts[-1].append((separator, value))
    kept: list[tuple[str, int | str]] = []
    for part in parts:
        while part and part[-1][1] in (0, ""):
            part.pop()
        kept += part
    return MavenVersion(tuple(kept))


def _tokens(text: str) -> list[tuple[str, int | str]]:
    found: list[tuple[str, int | str]] = []
    matches = [match for match in _TOKEN.finditer(text) if match[0] or match.start() == 0]
    for at, match in enumerate(matches):
        separator, word = match[1], match[2]
        if word.isdecimal() or not word:
            number = int(word or 0)
            hyphen = separator == "-" or (not separator and at > 0)
            found.append(("-" if hyphen else ".", number))
            continue
        digit_follows = match.end() < len(text) and text[match.end()] not in ".-"
        found.append(("-", _SHORT[word] if digit_follows and word in _SHORT else _ALIASES.get(word, word)))
    return found


SCHEME = KeyedScheme("maven", _parse)
