"""Versions of npm packages: semantic versioning, with the short forms that ranges use (`1`, `1.2`, `v1.2.3`)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stellaops.matching.versions.interface import Key, KeyedScheme
from stellaops.matching.versions.semver import prerelease_key, split

_IDENTIFIERS = r"([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)"
_VERSION = re.compile(
    rf"[=v]?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-{_IDENTIFIERS})?(?:\+{_IDENTIFIERS})?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Triple:
    """Major, minor, patch, the identifiers after the hyphen, build metadata."""

    release: tuple[int, int, int]
    suffix: tuple[str, ...]
    build: str


@dataclass(frozen=True, slots=True)
class NpmVersion(Triple):
    """A semantic version; what follows the hyphen is a pre-release."""

    @property
    def key(self) -> Key:
        """The release, then the pre-release below it."""
        return self.release, prerelease_key(self.suffix)


def triple(text: str) -> Triple | None:
    """The parts of `major[.minor[.patch]][-identifiers][+build]`; parts left out are zero."""
    found = _VERSION.fullmatch(text.strip(" \t"))
    if found is None:
        return None
    release = (int(found[1]), int(found[2] or 0), int(found[3] or 0))
    return Triple(release, split(found[4]), found[5] or "")


def _parse(text: str) -> NpmVersion | None:
    found = triple(text)
    return None if found is None else NpmVersion(found.release, found.suffix, found.build)


SCHEME = KeyedScheme("npm", _parse)
