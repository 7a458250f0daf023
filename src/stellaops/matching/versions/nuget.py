"""Versions of NuGet packages: semantic versioning 2.0 with a fourth number; labels compare without regard to case."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stellaops.matching.versions.interface import Key, KeyedScheme
from stellaops.matching.versions.semver import prerelease_key, split, without_trailing_zeros

_LABELS = r"([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)"
_VERSION = re.compile(rf"v?(\d{{1,18}}(?:\.\d{{1,18}}){{0,3}})(?:-{_LABELS})?(?:\+{_LABELS})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class NugetVersion:
    """Up to four numbers, and the labels of a pre-release in lower case."""

    release: tuple[int, ...]
    labels: tuple[str, ...]

    @property
    def key(self) -> Key:
        """The numbers without trailing zeros, then the pre-release below the release."""
        return without_trailing_zeros(self.release), prerelease_key(self.labels)


def _parse(text: str) -> NugetVersion | None:
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        return None
    return NugetVersion(tuple(int(part) for part in found[1].split(".")), split((found[2] or "").lower()))


SCHEME = KeyedScheme("nuget", _parse)
