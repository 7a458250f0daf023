"""Versions of Debian packages: `[epoch:]upstream[-revision]` (Debian policy 5.6.12)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stellaops.matching.versions.interface import Key, KeyedScheme

_VERSION = re.compile(r"(?:([0-9]+):)?([A-Za-z0-9.+~-]+?)(?:-([A-Za-z0-9.+~]*))?")
_RUN = re.compile(r"([^0-9]*)([0-9]*)")


@dataclass(frozen=True, slots=True)
class DpkgVersion:
    """Epoch (0 if none), upstream version, Debian revision ('' if none)."""

    epoch: int
    upstream: str
    revision: str

    @property
    def key(self) -> Key:
        """Epoch, upstream, revision."""
        return self.epoch, _part_key(self.upstream), _part_key(self.revision)


def _weight(character: str) -> int:
    """`~` below the end (0), the end below letters, letters below the rest."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _part_key(part: str) -> Key:
    """Stretches without digits and numbers in turn; a text that has ended goes on as an empty stretch and zero."""
    pairs = [(words, digits) for words, digits in _RUN.findall(part) if words or digits] or [("", "")]
    key: list[object] = []
    for words, digits in pairs:
        key += [(*map(_weight, words), 0), int(digits or 0)]
    return (*key, (0,))


def _parse(text: str) -> DpkgVersion | None:
    found = _VERSION.fullmatch(text.strip(" \t\n"))
    return None if found is None else DpkgVersion(int(found[1] or 0), found[2], found[3] or "")


SCHEME = KeyedScheme("dpkg", _parse)
