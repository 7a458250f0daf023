"""The JSON values of a Trivy database, and how several documents' statements become one.

Key order is alphabetical, severities are integers in advisories and words in `vulnerability`, scores are the only
numbers with a fraction: what the scanner decodes, in one fixed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from stellaops.advisories.severity import Severity, of_tenths
from stellaops.bundles.trivy.constraints.merge import Statement, merge
from stellaops.bundles.trivy.ranges import sort_key

_JSON = msgspec.json.Encoder(order="sorted")


class Detail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one document says about a vulnerability.

    Attributes:
        scores: CVSS version (`V2 V3 V40`) to vector and score times ten.
        has_rows: whether the document puts the vulnerability under any package; details alone keep no id.
    """

    title: str = ""
    description: str = ""
    severity: int = 0
    scores: dict[str, tuple[str, int]] = {}
    cwe_ids: list[str] = []
    references: list[str] = []
    published: str | None = None
    modified: str | None = None
    has_rows: bool = False


class _Ranges(msgspec.Struct, frozen=True, omit_defaults=True):
    VulnerableVersions: list[str] = []
    PatchedVersions: list[str] = []
    VendorIDs: list[str] = []


class _Fixed(msgspec.Struct, frozen=True, omit_defaults=True):
    FixedVersion: str = ""
    AffectedVersion: str = ""
    Severity: int = 0
    VendorIDs: list[str] = []


_DETAILS = msgspec.json.Decoder(Detail)
_RANGES = msgspec.json.Decoder(_Ranges)
_FIXED = msgspec.json.Decoder(_Fixed)


def ranges_value(vulnerable: Sequence[str], patched: Sequence[str], vendor_ids: Sequence[str]) -> bytes:
    """An advisory of a language package."""
    return _JSON.encode(_Ranges(list(vulnerable), list(patched), list(vendor_ids)))


def fixed_value(fixed: str, introduced: str, severity: int, vendor_ids: Sequence[str]) -> bytes:
    """An advisory of a distribution's package; an empty `fixed` says that no fix is known."""
    return _JSON.encode(_Fixed(fixed, introduced, severity, list(vendor_ids)))


def encode_detail(detail: Detail) -> bytes:
    """A detail row as it is stored."""
    return _JSON.encode(detail)


def decode_detail(value: bytes) -> Detail:
    """A stored detail row."""
    return _DETAILS.decode(value)


def merge_ranges(scheme: str, values: Sequence[bytes]) -> bytes:
    """One advisory of a language package from several: ranges united, contradicted fixes dropped."""
    parts = [_RANGES.decode(value) for value in values]
    merged = merge(scheme, [Statement(tuple(p.VulnerableVersions), tuple(p.PatchedVersions)) for p in parts])
    vendor_ids = sorted({name for part in parts for name in part.VendorIDs})
    return ranges_value(merged.vulnerable, merged.patched, vendor_ids)


def merge_fixed(scheme: str, values: Sequence[bytes]) -> bytes:
    """One advisory of a distribution's package from several: up to the highest fix; unfixed if any says so."""
    parts = [_FIXED.decode(value) for value in values]
    highest = highest_fix(scheme, [part.FixedVersion for part in parts])
    starts = {part.AffectedVersion for part in parts}
    vendor_ids = sorted({name for part in parts for name in part.VendorIDs})
    severity = max(part.Severity for part in parts)
    return fixed_value(highest, starts.pop() if len(starts) == 1 else "", severity, vendor_ids)


_FIX_NEEDED = frozenset(("alma", "rocky", "sles", "opensuse", "photon", "wolfi", "chainguard", "minimos"))
"""Families in which Trivy passes over an advisory without a fix."""


def highest_fix(scheme: str, fixes: Sequence[str]) -> str:
    """Up to which version a distribution's package is vulnerable; empty where one of the tellers knows no fix.

    Where Trivy would pass over that, the highest fix that is known stands instead: below it nobody doubts.
    """
    known = [text for text in fixes if text]
    if not known or (len(known) < len(fixes) and scheme not in _FIX_NEEDED):
        return ""
    return max(known, key=lambda text: (sort_key(text, scheme) or (), text))


def vulnerability_value(details: Sequence[tuple[str, Detail]]) -> bytes:
    """The `vulnerability` entry from what the documents say.

    Args:
        details: Trivy's SourceID and the detail, in merge order: the first that has a thing gives it.
    """
    entry: dict[str, Any] = {}
    _put(entry, "Title", next((d.title for _, d in details if d.title), ""))
    _put(entry, "Description", next((d.description for _, d in details if d.description), ""))
    _put(entry, "CweIDs", next((d.cwe_ids for _, d in details if d.cwe_ids), []))
    severities: dict[str, int] = {}
    vectors: dict[str, dict[str, Any]] = {}
    for source, detail in details:
        severity = _severity(detail)
        if severity and source not in severities:
            severities[source] = int(severity)
        if detail.scores and source not in vectors:
            vectors[source] = _cvss(detail)
    first = next(iter(severities.values()), 0)
    entry["Severity"] = Severity(first).name
    _put(entry, "VendorSeverity", severities)
    _put(entry, "CVSS", {source: scores for source, scores in vectors.items() if scores})
    _put(entry, "References", sorted({link for _, detail in details for link in detail.references}))
    _put(entry, "PublishedDate", next((d.published for _, d in details if d.published), None))
    _put(entry, "LastModifiedDate", next((d.modified for _, d in details if d.modified), None))
    return _JSON.encode(entry)


def _severity(detail: Detail) -> Severity:
    """The vendor's word, else the newest CVSS version's score: the order in which Trivy's builder asks."""
    if detail.severity:
        return Severity(detail.severity)
    for version in ("V40", "V3", "V2"):
        if version in detail.scores:
            return of_tenths(detail.scores[version][1])
    return Severity.UNKNOWN


def _cvss(detail: Detail) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for version, (vector, tenths) in detail.scores.items():
        if tenths:
            entry[f"{version}Vector"] = vector
            entry[f"{version}Score"] = tenths / 10
    return entry


def _put(entry: dict[str, Any], name: str, value: Any) -> None:
    if value:
        entry[name] = value
