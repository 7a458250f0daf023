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
        source: who says it, by Trivy's SourceID, where that is not the document's database.
        scores: CVSS version (`V2 V3 V40`) to vector and score times ten.
        has_rows: whether the document puts the vulnerability under any package; details alone keep no id.
    """

    source: str = ""
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
    UnaffectedVersions: list[str] = []
    VendorIDs: list[str] = []


class _Fixed(msgspec.Struct, frozen=True, omit_defaults=True):
    FixedVersion: str = ""
    AffectedVersion: str = ""
    Severity: int = 0
    Status: int = 0
    VendorIDs: list[str] = []


_DETAILS = msgspec.json.Decoder(Detail)
_RANGES = msgspec.json.Decoder(_Ranges)
_FIXED = msgspec.json.Decoder(_Fixed)
_ENTRY = msgspec.json.Decoder(dict[str, msgspec.Raw])


def ranges_value(
    vulnerable: Sequence[str],
    patched: Sequence[str],
    vendor_ids: Sequence[str],
    unaffected: Sequence[str] = (),
) -> bytes:
    """An advisory of a language package; with nothing vulnerable, all versions are but those of the other lists."""
    return _JSON.encode(_Ranges(list(vulnerable), list(patched), list(unaffected), list(vendor_ids)))


STATUSES = {
    "not_affected": 1,
    "affected": 2,
    "fixed": 3,
    "under_investigation": 4,
    "will_not_fix": 5,
    "fix_deferred": 6,
    "end_of_life": 7,
}
"""Trivy's words for how a package stands, with the numbers that it stores."""


def fixed_value(
    fixed: str, introduced: str, severity: int, vendor_ids: Sequence[str], status: int = 0
) -> bytes:
    """An advisory of a distribution's package.

    Args:
        fixed: the first version that is not vulnerable; empty where no fix is known.
        status: one of `STATUSES`; it is kept only where there is no fix, else Trivy shows `fixed`.
    """
    return _JSON.encode(_Fixed(fixed, introduced, severity, 0 if fixed else status, list(vendor_ids)))


def encode_detail(detail: Detail) -> bytes:
    """A detail row as it is stored."""
    return _JSON.encode(detail)


def decode_detail(value: bytes) -> Detail:
    """A stored detail row."""
    return _DETAILS.decode(value)


def keeps_id(value: bytes) -> bool:
    """Whether the document of a stored detail row puts the vulnerability under any package."""
    # Inside a text the quotation marks would be escaped.
    return b'"has_rows":true' in value


def merge_ranges(scheme: str, values: Sequence[bytes]) -> bytes:
    """One advisory of a language package from several: ranges united, contradicted fixes dropped."""
    parts = [_RANGES.decode(value) for value in values]
    told = [
        Statement(tuple(p.VulnerableVersions), tuple(p.PatchedVersions), tuple(p.UnaffectedVersions))
        for p in parts
    ]
    merged = merge(scheme, told)
    vendor_ids = sorted({name for part in parts for name in part.VendorIDs})
    return ranges_value(merged.vulnerable, merged.patched, vendor_ids, merged.unaffected)


def merge_fixed(scheme: str, values: Sequence[bytes]) -> bytes:
    """One advisory of a distribution's package from several: up to the highest fix; unfixed if any says so."""
    parts = [_FIXED.decode(value) for value in values]
    highest = highest_fix(scheme, [part.FixedVersion for part in parts])
    starts = {part.AffectedVersion for part in parts}
    vendor_ids = sorted({name for part in parts for name in part.VendorIDs})
    severity = max(part.Severity for part in parts)
    # Of several words on a package without a fix, the most particular.
    status = max(part.Status for part in parts)
    introduced = starts.pop() if len(starts) == 1 else ""
    return fixed_value(highest, introduced, severity, vendor_ids, status)


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


def vulnerability_value(
    vulnerability: str, details: Sequence[tuple[str, Detail]], custom: bytes = b""
) -> bytes:
    """The `vulnerability` entry from what the documents say.

    Args:
        details: Trivy's SourceID and the detail, in merge order: the first that has a thing gives it.
        custom: JSON of the marks; empty where there are none.
    """
    entry: dict[str, Any] = {}
    _put(entry, "Title", next((d.title for _, d in details if d.title), ""))
    _put(entry, "Description", next((d.description for _, d in details if d.description), ""))
    _put(entry, "CweIDs", next((d.cwe_ids for _, d in details if d.cwe_ids), []))
    severities: dict[str, int] = {}
    vectors: dict[str, dict[str, Any]] = {}
    for source, detail in details:
        severity = severity_of(detail)
        if severity and source not in severities:
            severities[source] = int(severity)
        if detail.scores and source not in vectors:
            vectors[source] = _cvss(detail)
    first = next(iter(severities.values()), 0)
    entry["Severity"] = Severity(first).name
    _put(entry, "VendorSeverity", severities)
    _put(entry, "CVSS", {source: scores for source, scores in vectors.items() if scores})
    _put(entry, "References", sorted({link for _, detail in details for link in detail.references}))
    _put(entry, "Custom", msgspec.Raw(custom) if custom else None)
    _put_dates(entry, "ghsa" if vulnerability.startswith("GHSA-") else "nvd", details)
    return _JSON.encode(entry)


def with_custom(value: bytes, custom: bytes) -> bytes:
    """An advisory with the marks of its vulnerability: Trivy's JSON report shows those of advisories alone."""
    entry = _ENTRY.decode(value)
    entry["Custom"] = msgspec.Raw(custom)
    return _JSON.encode(entry)


def _put_dates(entry: dict[str, Any], first: str, details: Sequence[tuple[str, Detail]]) -> None:
    """Both dates of one document: of the source that Trivy takes them from, else of the first that states any."""
    dated = [(source, detail) for source, detail in details if detail.published or detail.modified]
    chosen = next((told for told in dated if told[0] == first), next(iter(dated), None))
    if chosen is not None:
        _put(entry, "PublishedDate", chosen[1].published)
        _put(entry, "LastModifiedDate", chosen[1].modified)


def severity_of(detail: Detail) -> Severity:
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
