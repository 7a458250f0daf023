"""Versions of Alpine packages: `1.2.3a_rc1_p2~hash-r4`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stellaops.matching.versions.interface import Key, KeyedScheme

_BEFORE_RELEASE = ("alpha", "beta", "pre", "rc")
_AFTER_RELEASE = ("cvs", "svn", "git", "hg", "p")
_SUFFIX = re.compile(r"_([a-z]+)([0-9]*)")
_VERSION = re.compile(
    r"([0-9]+(?:\.[0-9]+)*)([a-z]?)"
    rf"((?:_(?:{'|'.join(_BEFORE_RELEASE + _AFTER_RELEASE)})[0-9]*)*)"
    r"(?:~([0-9a-f]+))?(?:-r([0-9]+))?"
)

# At one place: the suffixes of a pre-release, the end, then what may go on, the later in a version the lower.
_PRE, _END, _REVISION, _HASH, _SUFFIX_NUMBER, _POST, _LETTER, _DIGITS, _COMPONENT = range(9)


@dataclass(frozen=True, slots=True)
class ApkVersion:
    """Components as written (leading zeros matter), letter, suffixes as (name, digits), hash, revision digits."""

    components: tuple[str, ...]
    letter: str
    suffixes: tuple[tuple[str, str], ...]
    commit: str
    revision: str

    @property
    def key(self) -> Key:
        """One entry a token, and an end."""
        entries: list[tuple[int, int, str]] = [(_COMPONENT, int(self.components[0]), "")]
        for component in self.components[1:]:
            entries += _component(component)
        if self.letter:
            entries.append((_LETTER, 0, self.letter))
        for name, digits in self.suffixes:
            before = name in _BEFORE_RELEASE
            names = _BEFORE_RELEASE if before else _AFTER_RELEASE
            entries.append((_PRE if before else _POST, names.index(name), ""))
            if digits:
                entries.append((_SUFFIX_NUMBER, int(digits), ""))
        if self.commit:
            entries.append((_HASH, 0, self.commit))
        if self.revision:
            entries.append((_REVISION, int(self.revision), ""))
        return (*entries, (_END, 0, ""))


def _component(digits: str) -> list[tuple[int, int, str]]:
    """A component after the first; one that begins with zeros is a fraction: more zeros, then less."""
    rest = digits.lstrip("0")
    if rest == digits:
        return [(_COMPONENT, int(digits), "")]
    zeros = (_COMPONENT, len(rest) - len(digits), "")
    return [zeros, (_DIGITS, int(rest), "")] if rest else [zeros]


def _parse(text: str) -> ApkVersion | None:
    found = _VERSION.fullmatch(text.strip(" \t\n"))
    if found is None:
        return None
    suffixes = tuple((name, digits) for name, digits in _SUFFIX.findall(found[3]))
    return ApkVersion(tuple(found[1].split(".")), found[2], suffixes, found[4] or "", found[5] or "")


SCHEME = KeyedScheme("apk", _parse)
