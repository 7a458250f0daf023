"""CVEs of the National Vulnerability Database: pages of its API 2.0, its yearly files, or one CVE a file.

The record is the CVE object itself, so that the same CVE is the same record out of a page and out of a mirror that
keeps one file for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from stellaops.advisories.advisory import Advisory, Reference, SeverityEntry, Specific
from stellaops.advisories.canonical import Canonical, Malformed, from_json
from stellaops.advisories.documents.interface import Listing, Slice
from stellaops.advisories.documents.lenient import english, is_cve, member, objects, text
from stellaops.advisories.documents.slices import elements, is_object, members

_PAGE, _ONE = "vulnerabilities", "cve"
_TELLTALES = frozenset(("sourceIdentifier", "vulnStatus", "descriptions"))
_REJECTED = "rejected"
_PRIMARY = "Primary"
_V40, _V3, _V2 = ("cvssMetricV40",), ("cvssMetricV31", "cvssMetricV30"), ("cvssMetricV2",)


class NvdFeed:
    """The feed of the NVD."""

    name = "nvd"
    publishes_listings = False

    def recognises(self, path: str, content: bytes) -> bool:
        """JSON whose first CVE has an id and what only the NVD writes."""
        if not self.may_hold_documents(path) or b'"vulnStatus"' not in content:
            return False
        try:
            first = next(iter(self.records(path, content)), None)
            parsed = from_json(first.raw).parsed if first else None
        except Malformed:
            return False
        return is_cve(text(parsed, "id")) and _is_nvd(parsed)

    def listing(self, path: str, content: bytes) -> Listing | None:
        """None: a page is a part, and says nothing of the others."""
        return None

    def may_hold_documents(self, path: str) -> bool:
        """JSON files, except hidden ones."""
        base = path.rpartition("/")[2].lower()
        return base.endswith(".json") and not base.startswith(".")

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The CVE objects of a page, or of a file with a single one."""
        if not is_object(content):
            return (Slice(0, content),)
        found = members(content)
        if _PAGE in found:
            page = found[_PAGE]
            return _unwrapped(elements(content, page.offset, page.offset + len(page.raw)))
        if found.keys() == {_ONE}:
            return (found[_ONE],)
        return (Slice(0, content),)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """RFC 8785 of the CVE object."""
        return from_json(raw)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """What the NVD says of a CVE; None for JSON that is no CVE of the NVD."""
        if not isinstance(parsed, dict) or not _is_nvd(parsed):
            return None
        identifier = text(parsed, "id")
        if not is_cve(identifier):
            raise Malformed("no-id", f"the id {identifier[:80]!r} is no CVE id")
        modified = text(parsed, "lastModified")
        rejected = text(parsed, "vulnStatus").lower() == _REJECTED
        links = [Reference(url=text(link, "url")) for link in objects(parsed, "references")]
        vectors, word = _severity(member(parsed, "metrics"))
        return Advisory(
            id=identifier,
            published=text(parsed, "published") or None,
            modified=modified or None,
            withdrawn=(modified or _REJECTED.upper()) if rejected else None,
            details=english(objects(parsed, "descriptions")) or None,
            severity=[SeverityEntry(score=vector) for vector in vectors],
            references=[link for link in links if link.url],
            database_specific=Specific(severity=word, cwe_ids=_cwe_ids(parsed)),
        )


def _is_nvd(parsed: Any) -> bool:
    return isinstance(parsed, dict) and not _TELLTALES.isdisjoint(parsed)


def _unwrapped(items: Iterable[Slice]) -> Iterator[Slice]:
    """The CVE objects out of `{"cve": …}`, where they stand in the file."""
    for item in items:
        inner = members(item.raw).get(_ONE) if is_object(item.raw) else None
        yield item if inner is None else Slice(item.offset + inner.offset, inner.raw)


def _severity(metrics: Any) -> tuple[list[str], str | None]:
    """A CVSS vector of each version, and the severity that counts as the NVD's.

    Of each version the primary metric, else the first. The severity is that of the newest version, as in Trivy's own
    database; only a score of version 4 that is not primary, which others gave, comes after the NVD's version 3.
    """
    newest, newest_primary = _metric(metrics, _V40)
    three, _ = _metric(metrics, _V3)
    two, _ = _metric(metrics, _V2)
    found = [text(metric, "cvssData", "vectorString") for metric in (newest, three, two)]
    order = (newest, three, two) if newest_primary else (three, newest, two)
    words = (
        text(metric, "cvssData", "baseSeverity") or text(metric, "baseSeverity") for metric in order if metric
    )
    return [vector for vector in found if vector], next((word for word in words if word), None)


def _metric(metrics: Any, names: tuple[str, ...]) -> tuple[dict[str, Any] | None, bool]:
    all_of_them = [metric for name in names for metric in objects(metrics, name)]
    for metric in all_of_them:
        if text(metric, "type") == _PRIMARY:
            return metric, True
    return (all_of_them[0] if all_of_them else None), False


def _cwe_ids(parsed: Any) -> list[str]:
    told = (each for weakness in objects(parsed, "weaknesses") for each in objects(weakness, "description"))
    return list(dict.fromkeys(value for each in told if (value := text(each, "value")).startswith("CWE-")))
