"""Versions of Composer packages: up to four numbers and a stability, in the order of composer/semver.

`dev` and `alpha`, `beta`, `RC` stand below the release, `patch` (`pl`, `p`) above it. Branches (`dev-main`) have no
place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stellaops.matching.versions.interface import Key, KeyedScheme
from stellaops.matching.versions.semver import without_trailing_zeros

_VERSION = re.compile(
    r"v?(\d{1,18}(?:\.\d{1,18}){0,3})"
    r"(?:[._-]?(?:(stable)|(alpha|a|beta|b|rc|patch|pl|p)((?:[.-]?\d{1,18})*)))?"
    r"([.-]?dev)?(?:\+[0-9a-z.-]+)?",
    re.IGNORECASE | re.ASCII,
)
_RANKS = {"alpha": 1, "a": 1, "beta": 2, "b": 2, "rc": 3, "patch": 5, "pl": 5, "p": 5}
_DEV, _RELEASE = 0, 4


@dataclass(frozen=True, slots=True)
class ComposerVersion:
    """Numbers, the rank of the stability with its own numbers, and whether it is the development of that."""

    release: tuple[int, ...]
    rank: int
    numbers: tuple[int, ...]
    dev: bool

    @property
    def key(self) -> Key:
        """Numbers, then the stability; its development stands below it."""
        if self.dev and self.rank == _RELEASE:
            return self.release, _DEV, (), 0
        return self.release, self.rank, self.numbers, 0 if self.dev else 1


def _parse(text: str) -> ComposerVersion | None:
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        return None
    release = without_trailing_zeros(tuple(int(part) for part in found[1].split(".")))
    rank = _RANKS[found[3].lower()] if found[3] else _RELEASE
    numbers = tuple(int(part) for part in re.findall(r"\d+", found[4] or ""))
    return ComposerVersion(release, rank, numbers, found[5] is not None)


SCHEME = KeyedScheme("composer", _parse)
