"""Versions of Python distributions, by the `packaging` library (PEP 440)."""

from __future__ import annotations

from dataclasses import dataclass

import packaging.version

from stellaops.matching.versions.interface import Key, KeyedScheme


@dataclass(frozen=True, slots=True)
class Pep440Version:
    """A version and its normal form."""

    version: packaging.version.Version

    @property
    def key(self) -> Key:
        """The library's own order."""
        return (self.version,)

    @property
    def normal(self) -> str:
        """The canonical spelling: lower case, `a b rc post dev`, no leading zeros; the local label stays."""
        return str(self.version)


def _parse(text: str) -> Pep440Version | None:
    try:
        return Pep440Version(packaging.version.Version(text))
    except packaging.version.InvalidVersion:
        return None


SCHEME = KeyedScheme("pep440", _parse)
