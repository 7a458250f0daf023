"""CVE records, JSON 5.x: one a file, as in the CVE list, with what the CNA and each ADP says of the vulnerability.

The CNA's container and each ADP's container that has a score, a CWE or a link are a part of their own: the first
speaks as the source `cve`, the other as its provider (`cisa-adp`). What a record says of products is not read: CPE
names and free texts match no package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec.structs import replace

from stellaops.advisories.advisory import Advisory, Reference, SeverityEntry, Specific
from stellaops.advisories.canonical import Canonical, Malformed, from_json
from stellaops.advisories.documents.document_files import DocumentFiles
from stellaops.advisories.documents.interface import Slice
from stellaops.advisories.documents.lenient import english, is_cve, member, objects, text
from stellaops.advisories.documents.slices import BOM, elements, lines

_NO_DOCUMENTS = frozenset(("delta.json", "deltalog.json", "recent_activities.json"))
_LINES = (".jsonl", ".ndjson")
_TYPE = "CVE_RECORD"
_REJECTED = "REJECTED"
_CVSS = ("cvssV4_0", "cvssV3_1", "cvssV3_0", "cvssV2_0")
_CWE = re.compile(r"\s*(CWE-\d+)\b", re.ASCII)
_PROGRAM = "cve"
"""The short name under which the CVE program itself adds links."""


class CveFeed(DocumentFiles):
    """The feed of CVE records."""

    name = "cve"

    def recognises(self, path: str, content: bytes) -> bool:
        """JSON that calls itself a CVE record."""
        if not self.may_hold_documents(path) or _TYPE.encode() not in content:
            return False
        try:
            first = next(iter(self.records(path, content)), None)
            parsed = from_json(first.raw).parsed if first else None
        except Malformed:
            return False
        return text(parsed, "dataType") == _TYPE

    def may_hold_documents(self, path: str) -> bool:
        """JSON files, except the CVE list's own logs of changes and hidden files."""
        base = path.rpartition("/")[2].lower()
        return base.endswith((".json", *_LINES)) and not base.startswith(".") and base not in _NO_DOCUMENTS

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The file itself, or the elements of its JSON array, or its lines."""
        if path.lower().endswith(_LINES):
            return lines(content)
        if content[:64].removeprefix(BOM).lstrip()[:1] == b"[":
            return elements(content)
        return (Slice(0, content),)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """RFC 8785 of the record."""
        return from_json(raw)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """One part for each container; None for JSON that is no CVE record."""
        if text(parsed, "dataType") != _TYPE and member(parsed, "cveMetadata") is None:
            return None
        identifier = text(parsed, "cveMetadata", "cveId")
        if not is_cve(identifier):
            raise Malformed("no-id", f"cveMetadata.cveId {identifier[:80]!r} is no CVE id")
        if not isinstance(member(parsed, "containers", "cna"), dict):
            raise Malformed("schema", f"{identifier} has no container of its CNA")
        told = tuple(_parts(identifier, parsed))
        first = told[0]
        return Advisory(
            id=identifier,
            published=first.published,
            modified=first.modified,
            withdrawn=_rejected(parsed),
            summary=first.summary,
            details=first.details,
            parts=list(told),
        )


def _rejected(parsed: Any) -> str | None:
    """The instant of the rejection, or the word where none is stated; None for a record that stands."""
    if text(parsed, "cveMetadata", "state").upper() != _REJECTED:
        return None
    dates = (text(parsed, "cveMetadata", name) for name in ("dateRejected", "dateUpdated"))
    return next((date for date in dates if date), _REJECTED)


def _parts(identifier: str, parsed: Any) -> Iterator[Advisory]:
    cna = member(parsed, "containers", "cna")
    yield replace(
        _part(identifier, cna),
        published=text(parsed, "cveMetadata", "datePublished") or text(cna, "datePublic") or None,
        modified=text(parsed, "cveMetadata", "dateUpdated") or None,
        summary=text(cna, "title") or None,
        details=english(objects(cna, "descriptions")) or None,
    )
    for adp in objects(parsed, "containers", "adp"):
        provider = text(adp, "providerMetadata", "shortName").lower()
        part = _part(identifier, adp, origin=provider if provider != _PROGRAM else None)
        specific = part.database_specific
        if part.severity or part.references or (isinstance(specific, Specific) and specific.cwe_ids):
            yield part


def _part(identifier: str, container: Any, origin: str | None = None) -> Advisory:
    vectors, word = _severity(container)
    links = [Reference(url=text(link, "url")) for link in objects(container, "references")]
    return Advisory(
        id=identifier,
        severity=[SeverityEntry(score=vector) for vector in vectors],
        references=[link for link in links if link.url],
        database_specific=Specific(severity=word, cwe_ids=_cwe_ids(container), origin=origin),
    )


def _severity(container: Any) -> tuple[list[str], str | None]:
    """CVSS vectors; without any, the word that stands in their place."""
    vectors: list[str] = []
    words: list[str] = []
    for metric in objects(container, "metrics"):
        for name in _CVSS:
            vectors.append(text(metric, name, "vectorString"))
            words.append(text(metric, name, "baseSeverity"))
        rating = text(metric, "other", "type").lower()
        if "severity" in rating or "policies" in rating or rating == "unknown":
            content = member(metric, "other", "content")
            words += [text(content, name) for name in ("value", "text", "other")]
    known = [vector for vector in vectors if vector]
    word = next((word for word in words if word), None)
    return known, None if known else word


def _cwe_ids(container: Any) -> list[str]:
    found: dict[str, None] = {}
    for problem in objects(container, "problemTypes"):
        for told in objects(problem, "descriptions"):
            named = _CWE.match(text(told, "cweId")) or _CWE.match(text(told, "description"))
            if named:
                found[named[1]] = None
    return list(found)
