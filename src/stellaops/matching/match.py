"""Components against advisories: which rows about a component's package apply to its version, and by what rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

import msgspec
from msgspec import Struct

from stellaops.matching.constraints import BadConstraint, satisfies
from stellaops.matching.lookup import Lookup
from stellaops.matching.versions.interface import InvalidVersion
from stellaops.matching.versions.registry import DISTRIBUTIONS


class Row(Struct, frozen=True, order=True):
    """What one document says about one package and vulnerability: an advisory row of the Trivy projection.

    Attributes:
        strength: of several rows of one bucket about one package and vulnerability, only those of the greatest count.
        value: its JSON.
        source, key, digest: the document.
    """

    bucket: str
    package: str
    vulnerability: str
    strength: int
    value: bytes
    source: str
    key: str
    digest: str


class Rule(Struct, frozen=True, order=True):
    """Why a version is vulnerable, in the terms of one document.

    Attributes:
        range: the constraint that the version satisfies, or `< fixed`; empty where no version is free of it.
        fixed: the versions that are named as fixes.
        status: the distribution's word where there is no fix; empty else.
    """

    bucket: str
    source: str
    key: str
    digest: str
    range: str
    fixed: tuple[str, ...]
    status: str = ""
    severity: int = 0


class Match(Struct, frozen=True, order=True):
    """A vulnerability of one component, with every document that says so, sorted."""

    vulnerability: str
    rules: tuple[Rule, ...]


class _Value(Struct, frozen=True):
    VulnerableVersions: tuple[str, ...] = ()
    PatchedVersions: tuple[str, ...] = ()
    UnaffectedVersions: tuple[str, ...] = ()
    FixedVersion: str = ""
    AffectedVersion: str = ""
    Severity: int = 0
    Status: int = 0


_DECODER = msgspec.json.Decoder(_Value)
_FIX_NEEDED = frozenset(
    ("alma", "amazon", "bottlerocket", "chainguard", "minimos", "opensuse", "oracle", "photon", "rocky", "sles",
     "wolfi")
)  # fmt: skip
"""Families whose advisories tell of fixes: without one they say nothing about a version."""
_STATUSES = (
    "", "not_affected", "affected", "fixed", "under_investigation", "will_not_fix", "fix_deferred", "end_of_life",
)  # fmt: skip


def match(places: Iterable[Lookup], rows: Mapping[tuple[str, str], Sequence[Row]]) -> tuple[Match, ...]:
    """The vulnerabilities of a component, whatever the order of places and rows.

    Args:
        rows: those of each bucket (as `Lookup.bucket` names it) and package.

    Returns:
        Sorted by vulnerability. A row whose constraint or whose version cannot be read says nothing, as with scanners.
    """
    found: dict[str, set[Rule]] = {}
    for place in places:
        for row in _strongest(rows.get((place.bucket, place.package), ())):
            rule = _rule(place, row)
            if rule is not None:
                found.setdefault(row.vulnerability, set()).add(rule)
    return tuple(Match(name, tuple(sorted(found[name]))) for name in sorted(found))


def _strongest(rows: Sequence[Row]) -> Iterable[Row]:
    place = attrgetter("bucket", "package", "vulnerability")
    for _, group in groupby(sorted(set(rows)), key=place):
        told = list(group)
        most = max(row.strength for row in told)
        yield from (row for row in told if row.strength == most)


def _rule(place: Lookup, row: Row) -> Rule | None:
    value = _DECODER.decode(row.value)
    try:
        return _ranges(place, row, value) if place.language else _fixed(place, row, value)
    except (BadConstraint, InvalidVersion):
        return None


def _ranges(place: Lookup, row: Row, value: _Value) -> Rule | None:
    """Vulnerable if a vulnerable range holds the version (any, where none is given) and no secure one does."""
    vulnerable, secure = value.VulnerableVersions, (*value.PatchedVersions, *value.UnaffectedVersions)
    if not vulnerable and not secure:
        return None
    held = ""
    if "" not in (*vulnerable, *value.PatchedVersions):
        # Every constraint is read, so that an unreadable one hides no more in one order than in another.
        holding = [text for text in vulnerable if satisfies(place.scheme, text, place.version)]
        if vulnerable and not holding:
            return None
        if any(satisfies(place.scheme, text, place.version) for text in secure):
            return None
        held = " || ".join(holding)
    fixed = value.PatchedVersions or _upper_bounds(vulnerable)
    return Rule(row.bucket, row.source, row.key, row.digest, held, tuple(text for text in fixed if text))


def _upper_bounds(vulnerable: Sequence[str]) -> tuple[str, ...]:
    pieces = (piece.strip() for text in vulnerable for piece in text.replace("||", ",").split(","))
    return tuple(
        piece[1:].strip() for piece in pieces if piece.startswith("<") and not piece.startswith("<=")
    )


def _fixed(place: Lookup, row: Row, value: _Value) -> Rule | None:
    """Vulnerable below the version that fixes it; without a fix every version is, where the family says such things."""
    scheme = DISTRIBUTIONS[place.scheme]
    installed = scheme.key(place.version)
    if value.AffectedVersion and installed < scheme.key(value.AffectedVersion):
        return None
    told = (row.bucket, row.source, row.key, row.digest)
    if not value.FixedVersion:
        if place.scheme in _FIX_NEEDED:
            return None
        status = _STATUSES[value.Status] if value.Status < len(_STATUSES) else ""
        if status == "not_affected":
            return None
        return Rule(*told, "", (), status or "affected", value.Severity)
    if installed >= scheme.key(value.FixedVersion):
        return None
    return Rule(*told, f"<{value.FixedVersion}", (value.FixedVersion,), "", value.Severity)
