"""Which constraints Trivy cannot parse, which it parses as something else, and which installed versions it parses."""

from __future__ import annotations

import re
from functools import lru_cache

from stellaops.bundles.trivy.constraints.comparers import (
    BITNAMI,
    GENERIC,
    MAVEN,
    NPM,
    OF_ECOSYSTEM,
    PIP,
    RUBYGEMS,
    Comparer,
)
from stellaops.core.errors import InvalidInput

LONGEST = 16 * 1024
"""Characters between two `||`."""

_LARGEST = 2**64 - 1
_RANGE_NOTATION = re.compile(r"[\[(]")
_WILDCARDS = ("x", "X", "*")

# Plain numbers, most of what there is, need no closer look: up to three parse everywhere, and only three are read as
# they stand everywhere.
_PLAIN = r"(?:[<>]=?|=)? ?[0-9]{{1,18}}(?:\.[0-9]{{1,18}}){{{least},2}}"
_PARSES, _READS_WELL = (
    re.compile(rf"{plain}(?:, {plain})?") for plain in (_PLAIN.format(least=0), _PLAIN.format(least=2))
)


class UnknownComparer(InvalidInput):
    """An ecosystem for which Trivy has no comparer."""

    code = "ERR_TRIVY_UNKNOWN_ECOSYSTEM"
    hint = "Use one of the ecosystem names of Trivy's database that the message lists."


def problem(ecosystem: str, constraint: str) -> str | None:
    """Why Trivy cannot use a constraint; None if it parses.

    A constraint that does not parse makes Trivy warn and hide the finding, with whatever else stands in the same list.
    Told as problems too, though Trivy is silent: the empty constraint, which it takes for every version; what can make
    it panic; and Maven's range notation, for which it forgets the comparisons in the same list.

    Args:
        ecosystem: its name in Trivy's database (`pip`, `npm`, `go` …).
        constraint: one entry of VulnerableVersions, PatchedVersions or UnaffectedVersions; may hold `||`.

    Raises:
        UnknownComparer: there is no such ecosystem.
    """
    comparer = _comparer(ecosystem)
    return None if _PARSES.fullmatch(constraint) else _problem(comparer.name, constraint)


def misreading(ecosystem: str, constraint: str) -> str | None:
    """How Trivy reads a constraint differently from what its text says, though it parses; None if it doesn't.

    Raises:
        UnknownComparer: there is no such ecosystem.
    """
    comparer = _comparer(ecosystem)
    if _READS_WELL.fullmatch(constraint) or problem(ecosystem, constraint) is not None:
        return None
    return _misreading(comparer.name, constraint)


def version_problem(ecosystem: str, version: str) -> str | None:
    """Why Trivy cannot compare an installed version (it then warns and reports nothing); None if it can.

    Raises:
        UnknownComparer: there is no such ecosystem.
    """
    comparer = _comparer(ecosystem)
    found = comparer.installed.fullmatch(version)
    if found is None:
        return f"{version[:80]!r} is no version for the {comparer.name} comparer"
    return f"{version[:80]!r} has a number of more than 64 bits" if _overflows(comparer, found) else None


def _comparer(ecosystem: str) -> Comparer:
    found = OF_ECOSYSTEM.get(ecosystem)
    if found is None:
        raise UnknownComparer(f"{ecosystem[:80]!r} is none of {', '.join(sorted(OF_ECOSYSTEM))}")
    return found


_BY_NAME = {comparer.name: comparer for comparer in OF_ECOSYSTEM.values()}


@lru_cache(maxsize=65536)
def _problem(name: str, constraint: str) -> str | None:
    comparer = _BY_NAME[name]
    if not constraint:
        return "the constraint is empty: Trivy reports every version of the package"
    for alternative in constraint.split("||"):
        found = _alternative_problem(comparer, alternative)
        if found is not None:
            return found
    return None


def _alternative_problem(comparer: Comparer, alternative: str) -> str | None:
    text = alternative.strip()
    if not text:
        return None if comparer.blank_matches_all else "nothing stands before, after or between `||`"
    if comparer is PIP and text == "*":
        return None
    found = _form_problem(comparer, alternative)
    if found is not None:
        return f"{text[:80]!r} {found}"
    for piece in comparer.pieces(alternative):
        found = _piece_problem(comparer, piece)
        if found is not None:
            return f"{piece[0].strip()[:80]!r} {found}"
    return None


def _form_problem(comparer: Comparer, alternative: str) -> str | None:
    if len(alternative) > LONGEST:
        return f"and so on has more than {LONGEST} characters"
    if comparer is MAVEN and _RANGE_NOTATION.search(alternative):
        return "is Maven's range notation, for which Trivy loses what stands beside it in a list"
    return None if comparer.accepts(alternative) else f"does not parse for the {comparer.name} comparer"


def _piece_problem(comparer: Comparer, piece: re.Match[str]) -> str | None:
    operator = piece[1]
    if comparer is PIP and operator == "===":
        return None
    if comparer in (NPM, BITNAMI):
        return "can make Trivy panic" if operator in ("~", "^") and _mixed(piece) else None
    if comparer is RUBYGEMS:
        return "can make Trivy panic" if operator == "~>" and _too_large(piece["first"]) else None
    if _overflows(comparer, piece):
        return "has a number of more than 64 bits"
    return _pip_problem(operator, piece) if comparer is PIP else None


def _mixed(piece: re.Match[str]) -> bool:
    """Whether a part is neither a number of 64 bits nor a wildcard: compared as a word, and never counted up."""
    parts = [piece[name] for name in ("major", "minor", "patch")]
    return any(
        part is not None and part not in _WILDCARDS and not (part.isdecimal() and not _too_large(part))
        for part in parts
    )


def _pip_problem(operator: str, piece: re.Match[str]) -> str | None:
    if operator in ("", "=", "==", "!="):
        if piece["wildcard"] and (piece["local"] or piece["is_dev"]):
            return "has a wildcard after a dev release or a local label"
        return None
    if piece["wildcard"]:
        return "has a wildcard, which only equality allows"
    if piece["local"]:
        return "has a local label, which only equality allows"
    return "needs two release numbers" if operator == "~=" and "." not in piece["release"] else None


def _overflows(comparer: Comparer, found: re.Match[str]) -> bool:
    return any(_too_large(part) for name in comparer.numbers for part in (found[name] or "").split("."))


def _too_large(digits: str) -> bool:
    """Whether a number needs more than 64 bits; without converting numbers of any length."""
    significant = digits.lstrip("0")
    return len(significant) > 20 or int(significant or 0) > _LARGEST


@lru_cache(maxsize=65536)
def _misreading(name: str, constraint: str) -> str | None:
    comparer = _BY_NAME[name]
    for alternative in constraint.split("||"):
        found = _alternative_misreading(comparer, alternative)
        if found is not None:
            return found
    return None


def _alternative_misreading(comparer: Comparer, alternative: str) -> str | None:
    if not alternative.strip():
        return "nothing beside `||`, which Trivy takes for every version"
    end = 0
    for piece in comparer.pieces(alternative):
        between = alternative[end : piece.start()]
        if between.strip("\t\n\f\r ,") or (end and not between and not piece[1]):
            break
        end = piece.end()
        found = _piece_misreading(comparer, piece)
        if found is not None:
            return f"{piece[0].strip()!r} {found}"
    rest = alternative[end:].strip("\t\n\f\r ,")
    if comparer is PIP and rest == "*" and not end:
        return None
    return f"{rest!r} is not read as part of the version before it" if rest else None


def _piece_misreading(comparer: Comparer, piece: re.Match[str]) -> str | None:
    if comparer is RUBYGEMS and any(map(_too_large, re.findall("[0-9]+", piece[2]))):
        return "has a number of more than 64 bits, which is compared as a word"
    if comparer is GENERIC:
        return _wildcard_misreading(piece["pre_number"] or piece["pre_word"])
    if comparer not in (NPM, BITNAMI):
        return None
    if _mixed(piece):
        return "has a part that is neither a number of 64 bits nor a wildcard, and is compared as a word"
    parts = (piece["major"], piece["minor"], piece["patch"])
    partial = None in parts and not set(_WILDCARDS) & set(parts)
    if partial and piece[1] not in ("<", ">=", "=>"):
        return "means the whole family of versions"
    return _wildcard_misreading(piece["pre"])


def _wildcard_misreading(identifiers: str | None) -> str | None:
    if {"x", "X"} & set((identifiers or "").split(".")):
        return "has an `x` after the hyphen, which is a wildcard"
    return None
