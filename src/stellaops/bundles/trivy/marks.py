"""What is known of vulnerabilities themselves: ids that are void, and marks that go under `Custom`.

Rejections and marks are rows of the bucket `ABOUT`, whose name is empty: it comes before all others in the ordered
scan of an export, so that the few ids are at hand when the advisories pass. Scores are one document a day and are
looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any

import msgspec

ABOUT = ""
"""The bucket of rows about vulnerabilities themselves; its packages are `REJECTED` and `MARKS`."""
REJECTED = "rejected"
MARKS = frozenset(("kev",))

_JSON = msgspec.json.Encoder(order="sorted")
_VOID_FROM_THE_START = "Rejected reason:"
_VOID_ANYWHERE = ("** REJECT **", "DO NOT USE THIS CANDIDATE NUMBER")


def is_rejected(description: str) -> bool:
    """Whether a description is what the CVE list writes in place of one that it took back; by Trivy's own rule."""
    return description.lstrip().startswith(_VOID_FROM_THE_START) or any(
        words in description for words in _VOID_ANYWHERE
    )


def encode_mark(mark: Mapping[str, Any]) -> bytes:
    """A mark as it is stored and written."""
    return _JSON.encode(mark)


class Scores:
    """How likely it is that vulnerabilities are exploited, as EPSS says of one day.

    The numbers stay texts, so that what is written is what was published.
    """

    def __init__(self, date: str, scores: Iterable[tuple[str, str, str]]) -> None:
        """Take the scores of a day.

        Args:
            date: `YYYY-MM-DD`.
            scores: vulnerability, score and percentile, both as decimal numbers.
        """
        self._date = date
        self._scores = {name: f"{score} {percentile}" for name, score, percentile in scores}

    def __len__(self) -> int:
        return len(self._scores)

    def mark(self, vulnerability: str) -> bytes:
        """JSON with `date`, `percentile` and `score`; empty where there is no score."""
        found = self._scores.get(vulnerability)
        if found is None:
            return b""
        score, _, percentile = found.partition(" ")
        return f'{{"date":"{self._date}","percentile":{percentile},"score":{score}}}'.encode()


NO_SCORES = Scores("", ())


class About:
    """What is known of vulnerabilities beside what documents say of packages."""

    def __init__(self, scores: Scores = NO_SCORES) -> None:
        self._scores = scores
        self._rejected: set[str] = set()
        self._marks: dict[str, dict[str, bytes]] = {}

    def add(self, kind: str, vulnerability: str, value: bytes) -> None:
        """Take a row of the bucket `ABOUT`; of several marks of one kind, the bytewise first."""
        if kind == REJECTED:
            self._rejected.add(vulnerability)
        elif kind in MARKS:
            known = self._marks.setdefault(vulnerability, {})
            known[kind] = min(known.get(kind, value), value)

    @property
    def rejected(self) -> AbstractSet[str]:
        """The ids that are void."""
        return self._rejected

    @property
    def marks_any(self) -> bool:
        """Whether there is any mark at all."""
        return bool(self._marks) or len(self._scores) > 0

    def custom(self, vulnerability: str) -> bytes:
        """JSON of the marks of a vulnerability, by their names in order; empty where there is none."""
        marks = self._marks.get(vulnerability, _NONE)
        score = self._scores.mark(vulnerability)
        if not marks and not score:
            return b""
        told = {**marks, **({"epss": score} if score else {})}
        return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), told[name]) for name in sorted(told))


_NONE: Mapping[str, bytes] = MappingProxyType({})
