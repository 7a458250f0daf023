"""Versions of Dart packages: semantic versioning, where build metadata orders too (above the version without any)."""

from __future__ import annotations

from dataclasses import dataclass

from stellaops.matching.versions.interface import Key, KeyedScheme
from stellaops.matching.versions.npm import Triple, triple
from stellaops.matching.versions.semver import identifiers_key, prerelease_key


@dataclass(frozen=True, slots=True)
class PubVersion(Triple):
    """Major, minor and patch, pre-release, build."""

    @property
    def key(self) -> Key:
        """The release, the pre-release below it, the build above it."""
        build = identifiers_key(tuple(self.build.split("."))) if self.build else ()
        return self.release, prerelease_key(self.suffix), build


def _parse(text: str) -> PubVersion | None:
    found = triple(text)
    return None if found is None else PubVersion(found.release, found.suffix, found.build)


SCHEME = KeyedScheme("pub", _parse)
