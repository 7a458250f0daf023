"""The set of versions that a constraint stands for when Trivy's comparer reads it, from inside and from outside.

Where the two differ, the comparer's meaning is not a plain set of spans (`^1.2`, a wildcard, a text that it reads as
something else): then `outer` holds more than what matches and `inner` less, and whoever asks takes the safe side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, reduce

from stellaops.bundles.trivy.constraints.rules import misreading, problem
from stellaops.matching.ranges import EVERYTHING, NOTHING, Cut, Span, Spans, comparison, intersection
from stellaops.matching.versions.interface import InvalidVersion
from stellaops.matching.versions.registry import scheme_of
from stellaops.matching.versions.rubygems import before_prereleases

# An exclamation mark inside a version sets off its epoch (`2!1.0`).
_PIECE = re.compile(r"[\t\n\f\r ,]*([<>=!~^]*)[\t\n\f\r ]*((?:[^\t\n\f\r ,<>=!^]|(?<=[0-9])!(?=[0-9]))+)")
_SPELLINGS = {"": "=", "==": "=", "=>": ">=", "=<": "<="}
_PARTIAL = re.compile(r"v?([0-9]+)(\.[0-9]+)?")
_RELEASE = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)")


@dataclass(frozen=True, slots=True)
class Reading:
    """`inner` ⊆ what Trivy matches ⊆ `outer`; `texts` spells the version at each cut."""

    outer: Spans
    inner: Spans
    texts: tuple[tuple[Cut, str], ...] = ()


_UNKNOWN = Reading(EVERYTHING, NOTHING)


@lru_cache(maxsize=65536)
def read(ecosystem: str, constraint: str) -> Reading:
    """The reading of one constraint, which may hold `||`.

    Raises:
        UnknownComparer: there is no such ecosystem.
    """
    if problem(ecosystem, constraint) is not None or misreading(ecosystem, constraint) is not None:
        return _UNKNOWN
    readings = [_alternative(ecosystem, alternative) for alternative in constraint.split("||")]
    return Reading(
        tuple(span for reading in readings for span in reading.outer),
        tuple(span for reading in readings for span in reading.inner),
        tuple(text for reading in readings for text in reading.texts),
    )


def _alternative(ecosystem: str, text: str) -> Reading:
    readings: list[Reading] = []
    end = 0
    while (piece := _PIECE.match(text, end)) is not None:
        readings.append(_comparison(ecosystem, piece[1], piece[2]))
        end = piece.end()
    if text[end:].strip("\t\n\f\r ,") or not readings:
        return _UNKNOWN
    return Reading(
        reduce(intersection, (reading.outer for reading in readings)),
        reduce(intersection, (reading.inner for reading in readings)),
        tuple(text for reading in readings for text in reading.texts),
    )


def _comparison(ecosystem: str, operator: str, version: str) -> Reading:
    operator = _SPELLINGS.get(operator, operator)
    text, label, _ = version.partition("+") if ecosystem == "pip" else (version, "", "")
    partial = _PARTIAL.fullmatch(text)
    if ecosystem == "npm" and partial:
        # A missing part matches whatever stands there, a pre-release too: `>=1.2` begins with 1.2.0-0.
        text = f"{partial[1]}{partial[2] or '.0'}.0-0"
    try:
        key = scheme_of(ecosystem).key(text)
        if operator in ("~>", "~="):
            return _pessimistic(ecosystem, operator, text)
    except InvalidVersion:
        return _UNKNOWN
    spans = comparison(operator, key)
    if spans is None:
        return Reading((Span((key, 0), None),) if operator in ("~", "^") else EVERYTHING, NOTHING)
    # Python's comparer takes `1.0+x` for 1.0 unless the constraint has a label, and `>1.0` leaves out 1.0.post1.
    exact = not label and not (ecosystem == "pip" and operator == ">")
    return Reading(spans, spans if exact else NOTHING, (((key, 0), text), ((key, 1), text)))


def _pessimistic(ecosystem: str, operator: str, text: str) -> Reading:
    """`~> 1.2.3`: from there on, while all but the last number stay."""
    scheme = scheme_of(ecosystem)
    low: Cut = (scheme.key(text), 0)
    release = _RELEASE.match(text)
    numbers = [int(number) for number in release[1].split(".")] if release else []
    if operator == "~=" or not numbers:
        return Reading((Span(low, None),), NOTHING)
    kept = numbers[:-1] or numbers
    following = scheme.key(".".join(map(str, [*kept[:-1], kept[-1] + 1])))
    if scheme.name == "rubygems":
        following = before_prereleases(following)
    spans = intersection((Span(low, None),), (Span(None, (following, 0)),))
    return Reading(spans, spans, ((low, text),))
