"""Sets of versions as spans between cuts, whatever the scheme.

A cut lies just before or just after a version, so that open and closed bounds need no cases of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from stellaops.matching.versions.interface import Key

Cut: TypeAlias = tuple[Key, int]
"""A version's key, and 0 for just before it or 1 for just after it."""


@dataclass(frozen=True, slots=True)
class Span:
    """All versions between two cuts; None stands for no bound."""

    low: Cut | None = None
    high: Cut | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no version can lie between the cuts."""
        return self.low is not None and self.high is not None and not self.low < self.high


Spans: TypeAlias = tuple[Span, ...]
"""A union; the spans may overlap and stand in any order."""

EVERYTHING: Spans = (Span(),)
NOTHING: Spans = ()


def comparison(operator: str, key: Key) -> Spans | None:
    """The versions that stand in a relation to one version; None for an operator other than `= != < <= > >=`."""
    before, after = (key, 0), (key, 1)
    return {
        "=": (Span(before, after),),
        "!=": (Span(None, before), Span(after, None)),
        "<": (Span(None, before),),
        "<=": (Span(None, after),),
        ">": (Span(after, None),),
        ">=": (Span(before, None),),
    }.get(operator)


def intersection(left: Spans, right: Spans) -> Spans:
    """What is in both."""
    both = (Span(_higher(a.low, b.low), _lower(a.high, b.high)) for a in left for b in right)
    return tuple(span for span in both if not span.is_empty)


def complement(spans: Iterable[Span]) -> Spans:
    """What is in none of the spans, as disjoint spans in order."""
    gaps: list[Span] = []
    reached: Cut | None = None
    ordered = sorted(spans, key=lambda span: (span.low is not None, span.low or ((), 0)))
    for span in ordered:
        if span.low is not None and (reached is None or reached < span.low):
            gaps.append(Span(reached, span.low))
        if span.high is None:
            return tuple(gaps)
        reached = span.high if reached is None else max(reached, span.high)
    return (*gaps, Span(reached, None))


def contains(spans: Spans, key: Key) -> bool:
    """Whether a version is in one of the spans."""
    return bool(intersection(spans, (Span((key, 0), (key, 1)),)))


def _higher(a: Cut | None, b: Cut | None) -> Cut | None:
    if a is None or b is None:
        return b if a is None else a
    return max(a, b)


def _lower(a: Cut | None, b: Cut | None) -> Cut | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)
