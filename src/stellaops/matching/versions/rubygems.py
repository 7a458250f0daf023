"""Versions of Ruby gems (and of CocoaPods): segments of numbers and letters; letters make a pre-release."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stellaops.matching.versions.interface import Key, KeyedScheme

_VERSION = re.compile(r"(?:[0-9]+(?:\.[0-9a-zA-Z]+)*(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?")
_SEGMENT = re.compile(r"[0-9]+|[a-zA-Z]+")

# Two versions are compared as if the shorter went on with zeros for ever, so a zero in the middle is only decided by
# what follows it: before letters it is a little below the end, before a number a little above.
_LETTERS, _ZERO_BEFORE_LETTERS, _END, _ZERO_BEFORE_NUMBER, _NUMBER = range(5)


@dataclass(frozen=True, slots=True)
class GemVersion:
    """Numbers and letters, without the zeros that Gem does not count."""

    segments: tuple[int | str, ...]

    @property
    def key(self) -> Key:
        """One entry a segment, and an end."""
        entries: list[tuple[int, int, str]] = []
        zero = _ZERO_BEFORE_NUMBER
        for segment in reversed(self.segments):
            if isinstance(segment, str):
                entries.append((_LETTERS, 0, segment))
                zero = _ZERO_BEFORE_LETTERS
            elif segment:
                entries.append((_NUMBER, segment, ""))
                zero = _ZERO_BEFORE_NUMBER
            else:
                entries.append((zero, 0, ""))
        return (*reversed(entries), (_END, 0, ""))


def _parse(text: str) -> GemVersion | None:
    stripped = text.strip(" \t\n\r\f\v")
    if not _VERSION.fullmatch(stripped):
        return None
    found = _SEGMENT.findall(stripped.replace("-", ".pre."))
    segments: list[int | str] = [int(part) if part.isdecimal() else part for part in found]
    letters = next((at for at, segment in enumerate(segments) if isinstance(segment, str)), len(segments))
    return GemVersion((*_trimmed(segments[:letters]), *_trimmed(segments[letters:])))


def _trimmed(segments: list[int | str]) -> list[int | str]:
    while segments and segments[-1] == 0:
        segments.pop()
    return segments


SCHEME = KeyedScheme("rubygems", _parse)


def before_prereleases(key: Key) -> Key:
    """A key just below every pre-release of a release (no gem has a lowest pre-release to stand for it)."""
    return (*key[:-1], (_LETTERS, 0, ""))
