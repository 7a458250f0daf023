"""How to write a version into a constraint so that Trivy's comparer reads it as it was meant."""

from __future__ import annotations

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
