"""Headers of requests that choose a representation: encodings, conditions, ranges (RFC 9110)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from stellaops.core import byte_ranges

CODINGS = {"zstd": ".zst", "gzip": ".gz"}
"""Content codings by preference, and the ending of a file that is stored so."""


@lru_cache(maxsize=1024)
def accepted(header: bytes) -> Sequence[str]:
    """The codings of ours that a client takes, best first; identity is always taken."""
    weights: dict[str, float] = {}
    for part in header.decode("latin-1").lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        weights[name] = _weight(parameters)
    rest = weights.get("*", 0.0)
    found = [(weights.get(name, rest), -place, name) for place, name in enumerate(CODINGS)]
    return tuple(name for weight, _, name in sorted(found, reverse=True) if weight > 0)


def _weight(parameters: Sequence[str]) -> float:
    for each in parameters:
        name, _, value = each.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def matches(etag: bytes, header: bytes) -> bool:
    """Whether If-None-Match names an entity tag, by the weak comparison."""
    if etag == header:
        return True
    tags = [each.strip().removeprefix(b"W/") for each in header.split(b",")]
    return b"*" in tags or etag in tags


def wanted_range(header: bytes, if_range: bytes, size: int, etag: bytes) -> tuple[int, int] | None:
    """First byte and the one after the last; None for the whole.

    A header that cannot be understood, one that asks for several parts, and one for another version (If-Range) ask
    for the whole.

    Raises:
        Unsatisfiable: see `core.byte_ranges`.
    """
    if if_range and if_range.strip() != etag:
        return None
    return byte_ranges.wanted_range(header.decode("latin-1"), size)
