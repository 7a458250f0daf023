"""EPSS: how likely it is that a CVE is exploited within thirty days, a file a day with all CVEs.

The record is the day: a revision for each of a quarter of a million scores would be one for each every day. Its
canonical form is `{"model_version", "score_date", "scores": {CVE: [epss, percentile]}}`, with the numbers as the texts
that they are in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stellaops.advisories.advisory import Advisory
from stellaops.advisories.canonical import Canonical, Malformed
from stellaops.advisories.documents.interface import Listing, Slice
from stellaops.advisories.documents.lenient import member, text
from stellaops.advisories.documents.slices import BOM

_HEADER = "cve,epss,percentile"
_COMMENT = re.compile(r"#\s*model_version:([^,\r\n]{1,40}),\s*score_date:([^,\r\n]{10,40})\s*$")
_SORTED = msgspec.json.Encoder(order="sorted")
_NUMBER = r"\d(?:\.\d{1,20})?(?:[eE]-?\d{1,2})?"
_ROW = re.compile(rf"(CVE-\d{{4}}-\d{{4,19}}),({_NUMBER}),({_NUMBER})[ \t]*$", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_STORED = re.compile(rb'"(CVE-\d{4}-\d{4,19})":\["([0-9.eE-]{1,30})","([0-9.eE-]{1,30})"\]')


class EpssFeed:
    """The feed of the daily files."""

    name = "epss"
    publishes_listings = True

    def recognises(self, path: str, content: bytes) -> bool:
        """CSV with the columns of a day's scores."""
        return self.may_hold_documents(path) and _HEADER in (
            line.strip() for line in _text(content[:1024]).split("\n", 2)[:2]
        )

    def listing(self, path: str, content: bytes) -> Listing | None:
        """All that there is, of its day: an earlier day has had its time."""
        if not self.recognises(path, content):
            return None
        told = _COMMENT.match(_text(content[:1024]).split("\n", 1)[0].strip())
        return Listing(told[2]) if told else None

    def may_hold_documents(self, path: str) -> bool:
        """CSV files, except hidden ones."""
        base = path.rpartition("/")[2].lower()
        return base.endswith(".csv") and not base.startswith(".")

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The file itself, where it is one of scores."""
        return (Slice(0, content),) if self.recognises(path, content) else ()

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """The day as JSON; see the module."""
        try:
            lines = raw.removeprefix(BOM).decode("utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise Malformed("not-utf-8", str(error)) from error
        told = _COMMENT.match(lines[0].strip()) if lines else None
        if told is None:
            raise Malformed("no-id", "the file does not begin with the day of its scores")
        if len(lines) < 2 or lines[1].strip() != _HEADER:
            raise Malformed("schema", f"the second line is not {_HEADER}")
        day = {"model_version": told[1], "score_date": told[2], "scores": _scores(lines)}
        return Canonical(_SORTED.encode(day), False, day)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """The day alone, under its date; None for what is no day of scores."""
        if not isinstance(member(parsed, "scores"), dict):
            return None
        date = text(parsed, "score_date")
        found = _DAY.match(date)
        if found is None:
            raise Malformed("no-id", f"the score_date {date[:40]!r} is no date")
        return Advisory(
            id=found[0],
            published=date,
            summary=f"EPSS scores of {found[0]}",
        )


def scores(body: bytes) -> Iterator[tuple[str, str, str]]:
    """CVE, score and percentile out of the canonical form of a day, without parsing it as a whole."""
    for found in _STORED.finditer(body):
        yield found[1].decode(), found[2].decode(), found[3].decode()


def _scores(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number, line in enumerate(lines[2:], 3):
        row = _ROW.match(line)
        if row is not None:
            if row[1] in found:
                raise Malformed("duplicate-key", f"line {number} scores {row[1]} once more")
            found[row[1]] = [row[2], row[3]]
        elif line.strip():
            raise Malformed("schema", f"line {number} is no score: {line[:80]!r}")
    return found


def _text(content: bytes) -> str:
    return content.removeprefix(BOM).decode("utf-8", "replace")
