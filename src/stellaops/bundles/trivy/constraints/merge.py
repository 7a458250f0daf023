"""One advisory from what several documents say about the same (bucket, package, id).

Trivy reports a version that matches VulnerableVersions (any version, when that list is empty) and matches neither
PatchedVersions nor UnaffectedVersions. The merged statement reports at least what any one of the documents reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from stellaops.bundles.trivy.constraints.reading import read
from stellaops.matching.ranges import EVERYTHING, Cut, Spans, complement, intersection

ANY_VERSION = ("<0", ">=0")
"""Two constraints that together match every version in every ecosystem."""


@dataclass(frozen=True, slots=True)
class Statement:
    """The three lists of a language package's advisory; constraints as Trivy reads them, a bare version is equality."""

    vulnerable: tuple[str, ...]
    patched: tuple[str, ...]
    unaffected: tuple[str, ...] = ()

    @property
    def secure(self) -> tuple[str, ...]:
        """What takes a version out."""
        return self.patched + self.unaffected


def merge(ecosystem: str, statements: Sequence[Statement]) -> Statement:
    """Unite statements; independent of their order, and idempotent.

    Vulnerable constraints are united. A patched or unaffected constraint that shares a version with what another
    statement reports is dropped, unless that statement has it too. Where the comparer's reading of a constraint is
    not certain, more is reported, never less. Constraints that do not parse should be left out before.

    Args:
        ecosystem: its name in Trivy's database.
        statements: one a document.

    Returns:
        Lists without duplicates, ordered by version.

    Raises:
        UnknownComparer: there is no such ecosystem.
    """
    told = {_ordered(ecosystem, statement) for statement in statements if _says_something(statement)}
    if len(told) < 2:
        return next(iter(told), Statement((), ()))
    reports = [(frozenset(statement.secure), _reported(ecosystem, statement)) for statement in told]
    patched, unaffected = (
        {text for text in texts if not _hides(ecosystem, text, reports)}
        for texts in (_all(s.patched for s in told), _all(s.unaffected for s in told))
    )
    vulnerable = _vulnerable(ecosystem, told, has_secure=bool(patched | unaffected))
    return _ordered(ecosystem, Statement(tuple(vulnerable), tuple(patched), tuple(unaffected)))


def _says_something(statement: Statement) -> bool:
    return bool(statement.vulnerable or statement.secure)


def _all(lists: Iterable[tuple[str, ...]]) -> set[str]:
    return {text for texts in lists for text in texts}


def _reported(ecosystem: str, statement: Statement) -> Spans:
    """At least what Trivy reports by a statement alone."""
    if "" in statement.vulnerable + statement.patched:
        return EVERYTHING
    outer = tuple(span for text in statement.vulnerable for span in read(ecosystem, text).outer)
    secure = (span for text in statement.secure for span in read(ecosystem, text).inner)
    return intersection(outer if statement.vulnerable else EVERYTHING, complement(secure))


def _hides(ecosystem: str, text: str, reports: list[tuple[frozenset[str], Spans]]) -> bool:
    """Whether a patched or unaffected constraint would take out a version that some statement reports."""
    taken_out = read(ecosystem, text).outer
    return text == "" or any(
        text not in secure and intersection(taken_out, reported) for secure, reported in reports
    )


def _vulnerable(ecosystem: str, told: set[Statement], *, has_secure: bool) -> set[str]:
    """The united constraints; those that list nothing vulnerable mean all but what they call secure."""
    if any("" in statement.vulnerable + statement.patched for statement in told):
        return {""}
    united: set[str] = set()
    unlisted = [statement for statement in told if not statement.vulnerable]
    if len(unlisted) == len(told):
        return set() if has_secure else set(ANY_VERSION)
    for statement in unlisted:
        spelt = _spelt_complement(ecosystem, statement.secure)
        if spelt is None:
            return set() if has_secure else set(ANY_VERSION)
        united |= spelt
    return united.union(*(statement.vulnerable for statement in told))


def _spelt_complement(ecosystem: str, secure: tuple[str, ...]) -> set[str] | None:
    """Constraints for all versions outside some constraints; None where that has no spelling."""
    readings = [read(ecosystem, text) for text in secure]
    texts = dict(sorted((entry for reading in readings for entry in reading.texts), reverse=True))
    signs = (">=", None if ecosystem == "pip" else ">"), ("<", "<=")
    spelt: set[str] = set()
    for span in complement(span for reading in readings for span in reading.inner):
        bounds = [_bound(span.low, texts, signs[0]), _bound(span.high, texts, signs[1])]
        if None in bounds:
            return None
        spelt |= {", ".join(filter(None, bounds))} - {""} or set(ANY_VERSION)
    return spelt


def _bound(cut: Cut | None, texts: dict[Cut, str], signs: tuple[str, str | None]) -> str | None:
    """A cut as a comparison; empty for no bound, None where it has no spelling (pip's `>` leaves out 1.0.post1)."""
    if cut is None:
        return ""
    text, sign = texts.get(cut), signs[cut[1]]
    return None if text is None or sign is None else sign + text


def _ordered(ecosystem: str, statement: Statement) -> Statement:
    def place(text: str) -> tuple[Any, ...]:
        spans = read(ecosystem, text).outer
        lows = [span.low for span in spans if span.low is not None]
        if not spans or len(lows) < len(spans):
            return (0, text)
        return (1, min(lows), text)

    def order(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(texts), key=place))

    return Statement(order(statement.vulnerable), order(statement.patched), order(statement.unaffected))


__all__ = ["ANY_VERSION", "Statement", "merge"]
