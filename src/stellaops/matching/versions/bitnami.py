"""Versions of Bitnami packages: three numbers and a packaging revision, which stands above the bare version."""

from __future__ import annotations

from dataclasses import dataclass

from stellaops.matching.versions.interface import Key, KeyedScheme
from stellaops.matching.versions.npm import Triple, triple
from stellaops.matching.versions.semver import identifiers_key


@dataclass(frozen=True, slots=True)
class BitnamiVersion(Triple):
    """What follows the hyphen is the number of a rebuild, not a pre-release."""

    @property
    def key(self) -> Key:
        """The release, then the revision above it."""
        return self.release, identifiers_key(self.suffix)


def _parse(text: str) -> BitnamiVersion | None:
    found = triple(text)
    return None if found is None else BitnamiVersion(found.release, found.suffix, found.build)


SCHEME = KeyedScheme("bitnami", _parse)
