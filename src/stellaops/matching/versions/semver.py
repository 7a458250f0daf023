"""The lenient relative of semantic versioning that serves every ecosystem without a scheme of its own.

Any number of numeric segments, an optional `v`, a pre-release with or without its hyphen, build metadata. Missing
segments count as zero, build metadata does not order. On texts that semver.org allows, the order is semver.org's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import dropwhile

from stellaops.matching.versions.interface import Key, KeyedScheme

_VERSION = re.compile(
    r"v?([0-9]+(?:\.[0-9]+)*)"
    r"(?:-([0-9][0-9A-Za-z~-]*(?:\.[0-9A-Za-z~-]+)*)|-?([A-Za-z~-][0-9A-Za-z~-]*(?:\.[0-9A-Za-z~-]+)*))?"
    r"(?:\+([0-9A-Za-z~-]+(?:\.[0-9A-Za-z~-]+)*))?"
)


@dataclass(frozen=True, slots=True)
class SemverVersion:
    """Numeric segments as written, pre-release identifiers (none for a release), build metadata."""

    segments: tuple[int, ...]
    prerelease: tuple[str, ...]
    build: str

    @property
    def key(self) -> Key:
        """Segments without trailing zeros, then the pre-release."""
        return without_trailing_zeros(self.segments), prerelease_key(self.prerelease)


def without_trailing_zeros(segments: tuple[int, ...]) -> tuple[int, ...]:
    """The segments up to the last that is not zero, so that 1 and 1.0.0 are the same."""
    return tuple(reversed(tuple(dropwhile(lambda segment: segment == 0, reversed(segments)))))


def identifiers_key(identifiers: tuple[str, ...]) -> Key:
    """Dotted identifiers: numbers by value, below words; fewer below more."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in identifiers)


def prerelease_key(identifiers: tuple[str, ...]) -> Key:
    """A pre-release stands below its release."""
    return (0, identifiers_key(identifiers)) if identifiers else (1,)


def split(dotted: str | None) -> tuple[str, ...]:
    """Dotted identifiers, none for nothing."""
    return tuple(dotted.split(".")) if dotted else ()


def _parse(text: str) -> SemverVersion | None:
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    segments = tuple(int(segment) for segment in found[1].split("."))
    return SemverVersion(segments, split(found[2] or found[3]), found[4] or "")


SCHEME = KeyedScheme("semver", _parse)
