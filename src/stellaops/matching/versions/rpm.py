"""Versions of RPM packages: `[epoch:]version[-release]`, with `~` (before) and `^` (after)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stellaops.matching.versions.interface import Key, KeyedScheme

_VERSION = re.compile(r"(?:([0-9]+):)?([^\s:-]+)(?:-([^\s:-]+))?")
_SEGMENT = re.compile(r"~|\^|[0-9]+|[A-Za-z]+")

# At one place: `~` is older than the end, the end older than `^`, then words, then numbers.
_TILDE, _END, _CARET, _WORD, _NUMBER = range(5)


@dataclass(frozen=True, slots=True)
class RpmVersion:
    """Epoch (0 if none), version, release ('' if none, which orders first)."""

    epoch: int
    version: str
    release: str

    @property
    def key(self) -> Key:
        """Epoch, version, release."""
        return self.epoch, _part_key(self.version), _part_key(self.release)


def _part_key(part: str) -> Key:
    return (*map(_entry, _SEGMENT.findall(part)), (_END, 0, ""))


def _entry(segment: str) -> tuple[int, int, str]:
    if segment == "~":
        return (_TILDE, 0, "")
    if segment == "^":
        return (_CARET, 0, "")
    return (_NUMBER, int(segment), "") if segment.isdecimal() else (_WORD, 0, segment)


def _parse(text: str) -> RpmVersion | None:
    found = _VERSION.fullmatch(text.strip(" \t\n"))
    return None if found is None else RpmVersion(int(found[1] or 0), found[2], found[3] or "")


SCHEME = KeyedScheme("rpm", _parse)
