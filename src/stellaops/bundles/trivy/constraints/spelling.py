"""How to write a version into a constraint so that Trivy's comparer reads it as it was meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from stellaops.matching.versions import bitnami, npm, pep440
from stellaops.matching.versions.interface import InvalidVersion

_TRIPLES: dict[str, Callable[[str], npm.Triple]] = {"bitnami": bitnami.SCHEME.parse, "npm": npm.SCHEME.parse}


@lru_cache(maxsize=65536)
def spelling(ecosystem: str, version: str) -> str:
    """The spelling to use; the text itself where nothing better is known.

    pip: the normal form of PEP 440, since the comparer refuses capitals and cuts `1.0alpha1` into `1.0a` and `1`.
    npm, bitnami: all three numbers, since `<=1.2` would take in 1.2.9. Whether the result parses is for `problem`.
    """
    try:
        if ecosystem == "pip":
            return pep440.SCHEME.parse(version).normal
        if ecosystem in _TRIPLES:
            parsed = _TRIPLES[ecosystem](version)
            suffix = "-" + ".".join(parsed.suffix) if parsed.suffix else ""
            return ".".join(map(str, parsed.release)) + suffix + (f"+{parsed.build}" if parsed.build else "")
    except InvalidVersion:
        return version
    return version.strip()


_PARTIAL_BOUND = re.compile(r"(?<![<>=~^!])(<=|=<|>)\s*v?([0-9]+)(?:\.([0-9]+))?(?![0-9A-Za-z.*+-])")


def requirement(ecosystem: str, text: str) -> str:
    """A constraint in the ecosystem's own syntax, as the comparer reads it in the same sense.

    npm: `<=1.0` means `<1.1.0-0` there and here; it is spelled so, since it looks like another.
    """
    return _PARTIAL_BOUND.sub(_spelled_out, text.strip()) if ecosystem == "npm" else text.strip()


def _spelled_out(found: re.Match[str]) -> str:
    major, minor = int(found[2]), found[3]
    following = f"{major + 1}.0.0-0" if minor is None else f"{major}.{int(minor) + 1}.0-0"
    return f"{'>=' if found[1] == '>' else '<'}{following}"
