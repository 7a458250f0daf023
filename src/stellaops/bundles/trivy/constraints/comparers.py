"""The constraint grammars of Trivy's comparers: what each accepts, and how each cuts an accepted text.

Every comparer first asks whether a text as a whole is a list of operators and versions, then cuts it with an unanchored
search, leftmost piece first. The two steps can disagree; `pieces` and `accepts` therefore are separate here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stellaops.bundles.trivy.constraints.positions import (
    Pattern,
    either,
    matches,
    maybe,
    one,
    repeated,
    run,
    sequence,
    word,
)

_DIGITS = "0123456789"
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_LETTERS = _LOWER + _LOWER.upper()
_BLANKS = "\t\n\f\r "
_BLANK = r"[\t\n\f\r ]"


@dataclass(frozen=True, slots=True)
class Comparer:
    """One of Trivy's comparers.

    `whole` matches what lies between two `||`; `piece` finds operator (group 1) and version (group 2) in it;
    `installed` matches the versions of packages that it can compare; `numbers` names the groups that must fit 64 bits.
    """

    name: str
    operators: tuple[str, ...]
    whole: Pattern
    piece: re.Pattern[str]
    installed: re.Pattern[str]
    numbers: tuple[str, ...] = ()
    blank_matches_all: bool = False

    def accepts(self, alternative: str) -> bool:
        """Whether the whole of a text without `||` has the comparer's form."""
        return matches(self.whole, alternative)

    def pieces(self, alternative: str) -> Iterator[re.Match[str]]:
        """The pieces that the comparer goes on with."""
        return self.piece.finditer(alternative)


def _whole(operators: tuple[str, ...], version: Pattern) -> Pattern:
    blanks = repeated(run(_BLANKS))
    operator = maybe(either(*map(word, operators)))
    return sequence(blanks, repeated(blanks, operator, blanks, version, blanks, maybe(one(","))), blanks)


def _piece(operators: tuple[str, ...], version: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    longest_first = "|".join(map(re.escape, sorted(operators, key=len, reverse=True)))
    return re.compile(rf"({longest_first}|){_BLANK}*({version})", flags | re.ASCII)


_COMPARISONS = ("=", "==", ">", "<", ">=", "<=")
_SWAPPED = ("=>", "=<")


def _dotted(characters: str) -> Pattern:
    return sequence(run(characters), repeated(one("."), run(characters)))


def _generic() -> Comparer:
    tail = _DIGITS + _LETTERS + "-~"
    more = sequence(maybe(run(tail)), repeated(one("."), run(tail)))
    number_first = sequence(one("-"), run(_DIGITS), more)
    word_first = sequence(maybe(one("-")), run(_LETTERS + "-~"), more)
    version = sequence(
        maybe(one("v")),
        _dotted(_DIGITS),
        maybe(either(number_first, word_first)),
        maybe(one("+"), _dotted(tail)),
    )
    t = "[0-9A-Za-z~-]"
    expression = (
        rf"v?(?P<release>[0-9]+(?:\.[0-9]+)*)"
        rf"(?:-(?P<pre_number>[0-9]+{t}*(?:\.{t}+)*)|-?(?P<pre_word>[A-Za-z~-]+{t}*(?:\.{t}+)*))?"
        rf"(?:\+{t}+(?:\.{t}+)*)?"
    )
    operators = (*_COMPARISONS, *_SWAPPED, "!=", "~>", "~", "^")
    whole, piece = _whole(operators, version), _piece(operators, expression)
    return Comparer("generic", operators, whole, piece, re.compile(expression), numbers=("release",))


def _rubygems() -> Comparer:
    tail = _DIGITS + _LETTERS
    version = sequence(run(_DIGITS), repeated(one("."), run(tail)), maybe(one("-"), _dotted(tail + "-")))
    expression = r"(?P<first>[0-9]+)(?:\.[0-9a-zA-Z]+)*(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
    operators = (*_COMPARISONS, *_SWAPPED, "!=", "~>")
    installed = re.compile(rf"{_BLANK}*(?:{expression})?{_BLANK}*")
    return Comparer(
        "rubygems", operators, _whole(operators, version), _piece(operators, expression), installed
    )


_IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_STRICT = re.compile(
    r"(?P<release>(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)){2})"
    rf"(?:-{_IDENTIFIER}(?:\.{_IDENTIFIER})*)?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)


def _triples(name: str, more_operators: tuple[str, ...]) -> Comparer:
    part = run(_DIGITS + "|xX*")
    identifiers = _dotted(_DIGITS + _LETTERS + "-")
    version = sequence(
        maybe(one("v")), part, maybe(one("."), part), maybe(one("."), part),
        maybe(one("-"), identifiers), maybe(one("+"), identifiers),
    )  # fmt: skip
    p, ids = r"[0-9|xX*]+", r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
    expression = (
        rf"v?(?P<major>{p})(?:\.(?P<minor>{p}))?(?:\.(?P<patch>{p}))?(?:-(?P<pre>{ids}))?(?:\+{ids})?"
    )
    operators = (*_COMPARISONS, *_SWAPPED, "~", "^", *more_operators)
    whole, piece = _whole(operators, version), _piece(operators, expression)
    return Comparer(name, operators, whole, piece, _STRICT, numbers=("release",), blank_matches_all=True)


def _maven() -> Comparer:
    version = run(_DIGITS + _LETTERS + "-~_.+")
    operators = (*_COMPARISONS, *_SWAPPED, "!=")
    piece = _piece(operators, r"[0-9A-Za-z~_.+-]+")
    return Comparer("maven", operators, _whole(operators, version), piece, re.compile(r"(?s:.*)"))


def _pip() -> Comparer:
    separator = maybe(one("-_."))
    number = maybe(run(_DIGITS))

    def labelled(*labels: str) -> Pattern:
        return sequence(separator, either(*map(word, labels)), separator, number)

    pre = ("a", "b", "c", "rc", "alpha", "beta", "pre", "preview")
    version = sequence(
        maybe(one("v")),
        maybe(run(_DIGITS), one("!")),
        _dotted(_DIGITS),
        maybe(labelled(*pre)),
        maybe(either(sequence(one("-"), run(_DIGITS)), labelled("post", "rev", "r"))),
        maybe(labelled("dev")),
        maybe(one("+"), run(_DIGITS + _LOWER), repeated(one("-_."), run(_DIGITS + _LOWER))),
        maybe(word(".*")),
    )
    # The order of the labels is the comparer's: `a` is tried before `alpha`, and wins.
    expression = (
        r"v?(?:(?P<epoch>[0-9]+)!)?(?P<release>[0-9]+(?:\.[0-9]+)*)"
        rf"(?:[-_.]?(?:{'|'.join(pre)})[-_.]?(?P<pre>[0-9]+)?)?"
        r"(?:-(?P<post1>[0-9]+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post2>[0-9]+)?)?"
        r"(?:[-_.]?(?P<is_dev>dev)[-_.]?(?P<dev>[0-9]+)?)?"
        r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?"
    )
    operators = (*_COMPARISONS, "!=", "~=", "===")
    piece = _piece(operators, rf"{expression}(?P<wildcard>\.\*)?", re.IGNORECASE)
    installed = re.compile(rf"{_BLANK}*{expression}{_BLANK}*", re.IGNORECASE | re.ASCII)
    numbers = ("epoch", "release", "pre", "post1", "post2", "dev")
    return Comparer("pip", operators, _whole(operators, version), piece, installed, numbers)


GENERIC = _generic()
RUBYGEMS = _rubygems()
MAVEN = _maven()
PIP = _pip()
NPM = _triples("npm", ())
BITNAMI = _triples("bitnami", ("!=",))

OF_ECOSYSTEM = {
    **dict.fromkeys(
        ("cargo", "composer", "conan", "erlang", "go", "julia", "k8s", "nuget", "pub", "swift"), GENERIC
    ),
    "bitnami": BITNAMI,
    "cocoapods": RUBYGEMS,
    "maven": MAVEN,
    "npm": NPM,
    "pip": PIP,
    "rubygems": RUBYGEMS,
}
"""By the ecosystem's name in Trivy's database."""
