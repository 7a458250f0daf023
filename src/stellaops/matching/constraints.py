"""Whether a version satisfies a constraint, by the rules of its ecosystem.

A constraint is a list of comparisons, with commas or blanks between those that must all hold, and `||` between
alternatives. A bare version means equality. What cannot be read satisfies nothing, and is told as such.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, reduce

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion as InvalidPythonVersion
from packaging.version import Version

from stellaops.core.errors import InvalidInput
from stellaops.matching.ranges import (
    EVERYTHING,
    NOTHING,
    Cut,
    Span,
    Spans,
    comparison,
    contains,
    intersection,
)
from stellaops.matching.versions.interface import InvalidVersion, Key
from stellaops.matching.versions.registry import OWN_RULES
from stellaops.matching.versions.rubygems import before_prereleases

# An exclamation mark inside a version sets off its epoch (`2!1.0`).
_PIECE = re.compile(r"[\s,]*([<>=!~^]*)\s*((?:[^\s,<>=!^~]|(?<=[0-9])!(?=[0-9]))+(?:~[^\s,<>=!^]*)?)")
_SPELLINGS = {"": "=", "==": "=", "===": "=", "=>": ">=", "=<": "<="}
_NUMBERS = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)")
_NPM_PARTIAL = re.compile(r"v?([0-9]+|[xX*])(?:\.([0-9]+|[xX*]))?(?:\.([0-9]+|[xX*]))?(-[^+]*)?(?:\+.*)?")


class BadConstraint(InvalidInput):
    """A text that is no constraint of its ecosystem."""

    code = "ERR_MATCHING_CONSTRAINT"
    hint = "Look at the range in the source document; its ecosystem cannot read it."


def satisfies(ecosystem: str, constraint: str, version: str) -> bool:
    """Whether a version is one of those that a constraint stands for.

    Args:
        ecosystem: its name in Trivy's database (`pip`, `npm`, `go` …).

    Raises:
        BadConstraint: the constraint cannot be read.
        InvalidVersion: the ecosystem has no such version.
    """
    if ecosystem == "pip":
        return _python(constraint, version)
    key = OWN_RULES[ecosystem].key(version)
    return contains(_spans(ecosystem, constraint), key)


@lru_cache(maxsize=65536)
def _spans(ecosystem: str, constraint: str) -> Spans:
    return tuple(
        span for alternative in constraint.split("||") for span in _alternative(ecosystem, alternative)
    )


def _alternative(ecosystem: str, text: str) -> Spans:
    if ecosystem in ("npm", "bitnami") and text.strip() in ("", "*", "x", "X"):
        return EVERYTHING
    spans: list[Spans] = []
    for operator, version in _pieces(ecosystem, text):
        try:
            spans.append(
                _OF_SYNTAX.get(ecosystem, _plain)(ecosystem, _SPELLINGS.get(operator, operator), version)
            )
        except InvalidVersion as error:
            raise BadConstraint(f"{text.strip()[:80]!r}: {error.what}") from error
    return reduce(intersection, spans)


def _pieces(ecosystem: str, text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    end = 0
    while (piece := _PIECE.match(text, end)) is not None:
        found.append((piece[1], piece[2]))
        end = piece.end()
    if text[end:].strip("\t\n\f\r ,") or not found:
        raise BadConstraint(f"{text.strip()[:80]!r} is no constraint of {ecosystem}")
    return found


def _plain(ecosystem: str, operator: str, version: str) -> Spans:
    """Comparisons in the order of the ecosystem, and the three ways to say "compatible"."""
    scheme = OWN_RULES[ecosystem]
    low: Cut = (scheme.key(version), 0)
    if operator in ("~>", "~", "^"):
        numbers = _numbers(version)
        following = ".".join(map(str, _FOLLOWING[operator](numbers)))
        key = scheme.key(following)
        return (Span(low, (before_prereleases(key) if scheme.name == "rubygems" else key, 0)),)
    spans = comparison(operator, low[0])
    if spans is None:
        raise BadConstraint(f"{operator!r} is no operator of {ecosystem}")
    return spans


def _numbers(version: str) -> list[int]:
    found = _NUMBERS.match(version)
    if found is None:
        raise BadConstraint(f"{version[:80]!r} begins with no number")
    return [int(number) for number in found[1].split(".")]


def _pessimistic(numbers: list[int]) -> list[int]:
    """All but the last number stay; of one number alone, that one."""
    kept = numbers[:-1] or numbers
    return [*kept[:-1], kept[-1] + 1]


def _tilde(numbers: list[int]) -> list[int]:
    """Major and minor stay, as far as they are given."""
    kept = numbers[:2]
    return [*kept[:-1], kept[-1] + 1]


def _caret(numbers: list[int]) -> list[int]:
    """The first number that is not zero stays."""
    place = next((at for at, number in enumerate(numbers) if number), len(numbers) - 1)
    return [*numbers[:place], numbers[place] + 1]


_FOLLOWING: dict[str, Callable[[list[int]], list[int]]] = {"~>": _pessimistic, "~": _tilde, "^": _caret}


def _npm(ecosystem: str, operator: str, version: str) -> Spans:
    """Node's ranges: parts left out, or written as `x`, stand for any number; pre-releases are not set apart."""
    found = _NPM_PARTIAL.fullmatch(version)
    if found is None:
        raise BadConstraint(f"{version[:80]!r} is no version of {ecosystem}")
    given = [part for part in found.groups()[:3] if part is not None and part not in "xX*"]
    if any(part in ("x", "X", "*") for part in found.groups()[: len(given)]):
        raise BadConstraint(f"{version[:80]!r} is no version of {ecosystem}")
    numbers = [int(part) for part in given]
    key = OWN_RULES[ecosystem].key
    if operator in ("~>", "~", "^"):
        if not numbers:
            return EVERYTHING
        step = _caret if operator == "^" else _tilde
        low = version if len(numbers) == 3 else _triple(numbers) + "-0"
        return (Span((key(low), 0), (key(_triple(step(numbers)) + "-0"), 0)),)
    if len(numbers) == 3:
        return _plain(ecosystem, operator, version)
    return _partial(operator, numbers, key)


def _partial(operator: str, numbers: list[int], key: Callable[[str], Key]) -> Spans:
    if not numbers:
        return NOTHING if operator in ("<", ">", "!=") else EVERYTHING
    first: Cut = (key(_triple(numbers) + "-0"), 0)
    after: Cut = (key(_triple([*numbers[:-1], numbers[-1] + 1]) + "-0"), 0)
    found = {
        "=": (Span(first, after),),
        "!=": (Span(None, first), Span(after, None)),
        "<": (Span(None, first),),
        "<=": (Span(None, after),),
        ">": (Span(after, None),),
        ">=": (Span(first, None),),
    }.get(operator)
    if found is None:
        raise BadConstraint(f"{operator!r} is no operator of npm")
    return found


def _triple(numbers: list[int]) -> str:
    return ".".join(map(str, (*numbers, 0, 0)[:3]))


_OF_SYNTAX: dict[str, Callable[[str, str, str], Spans]] = {"npm": _npm, "bitnami": _npm}


def _python(constraint: str, version: str) -> bool:
    try:
        installed = Version(version)
    except InvalidPythonVersion as error:
        raise InvalidVersion(f"{version[:80]!r} is no pep440 version") from error
    return any(specifiers.contains(installed, prereleases=True) for specifiers in _specifiers(constraint))


@lru_cache(maxsize=65536)
def _specifiers(constraint: str) -> tuple[SpecifierSet, ...]:
    found = []
    for alternative in constraint.split("||"):
        pieces = [] if alternative.strip() == "*" else _python_pieces(alternative)
        try:
            found.append(SpecifierSet(",".join(pieces)))
        except InvalidSpecifier as error:
            raise BadConstraint(f"{alternative.strip()[:80]!r} is no constraint of pip") from error
    return tuple(found)


def _python_pieces(alternative: str) -> list[str]:
    pieces = [piece.strip() for piece in alternative.split(",") if piece.strip()]
    if not pieces:
        raise BadConstraint(f"{alternative[:80]!r} is no constraint of pip")
    return [
        f"=={piece.lstrip('= ')}" if piece[0] == "=" or piece[0].isdigit() or piece[0] == "v" else piece
        for piece in pieces
    ]
