"""CSAF 2.0 and 2.1 documents, one a JSON file: security advisories, VEX, and the other profiles.

A document speaks of several vulnerabilities, each with its own products, severities and remediations: these are the
advisory's parts. Products are named for the index by the package URLs that they have. No row of a scanner's database
is made from them: a statement about a vendor's product, or about a package as that vendor builds and ships it, is none
about every package of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stellaops.advisories.advisory import Advisory, Affected, Package, Reference, SeverityEntry, Specific
from stellaops.advisories.canonical import Canonical, Malformed, from_json
from stellaops.advisories.documents.document_files import DocumentFiles
from stellaops.advisories.packages import without_version
from stellaops.advisories.severity import Severity, of_word
from stellaops.csaf import document as csaf
from stellaops.csaf.document import AFFECTED, FIXED, Document, Note, Vulnerability
from stellaops.csaf.provider import is_index

_BOM = b"\xef\xbb\xbf"
_MAX_ID = 256
# A bare number in the vendor's own system ("Red Hat Bugzilla ID", 2158081) names nothing outside it.
_GLOBAL_ID = re.compile(r"[A-Z][A-Za-z]*-[A-Za-z0-9][A-Za-z0-9:._-]*$", re.ASCII)
_DESCRIPTIONS = ("description", "summary", "details", "general")
_FIXABLE = (*AFFECTED, *FIXED, "recommended")
_TELLTALES = ("vulnerabilities", "product_tree")


class _Outline(msgspec.Struct):
    document: dict[str, msgspec.Raw]


_OUTLINE = msgspec.json.Decoder(_Outline)


class CsafFeed(DocumentFiles):
    """The CSAF feed.

    Nothing is listed completely: providers never take documents out of their listings, and a partial copy keeps the
    whole listing.
    """

    name = "csaf"

    def recognises(self, path: str, content: bytes) -> bool:
        """A JSON object with a `document` that has CSAF's tracking or version."""
        if not self.may_hold_documents(path):
            return False
        try:
            outline = _OUTLINE.decode(content.removeprefix(_BOM))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return "csaf_version" in outline.document or "tracking" in outline.document

    def may_hold_documents(self, path: str) -> bool:
        """JSON files but hidden ones and the well-known names of indexes; hashes and signatures have other suffixes."""
        base = path.rpartition("/")[2].lower()
        return base.endswith(".json") and not base.startswith(".") and not is_index(path)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """JSON."""
        return from_json(raw)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """The fields of a CSAF document; None for other JSON, such as a ROLIE feed or a CVE record beside it."""
        if not isinstance(parsed, dict) or not csaf.is_csaf(parsed):
            if isinstance(parsed, dict) and all(name in parsed for name in _TELLTALES):
                raise Malformed("schema", "a CSAF document without its `document` part")
            return None
        try:
            document = csaf.read(parsed)
        except csaf.NotIdentified as error:
            raise Malformed("no-id", str(error)) from error
        identifier = document.tracking.id
        if len(identifier) > _MAX_ID or not identifier.isprintable():
            raise Malformed("no-id", f"the id {identifier[:80]!r} is too long or not printable")
        return _advisory(document)


def _advisory(document: Document) -> Advisory:
    tracking = document.tracking
    return Advisory(
        id=tracking.id,
        aliases=list(tracking.aliases),
        published=tracking.initial_release or None,
        modified=tracking.current_release or None,
        withdrawn=_withdrawn(document),
        summary=document.title or None,
        details=_description(document.notes) or None,
        references=_links(reference.url for reference in document.references),
        database_specific=Specific(severity=document.aggregate_severity or None),
        parts=[_part(document, told) for told in document.vulnerabilities] or None,
        tlp=document.tlp,
        publisher=document.publisher.namespace or None,
    )


def _withdrawn(document: Document) -> str | None:
    """The instant of the release that took the document back; where that states none, the word that says so."""
    if not document.taken_back:
        return None
    return document.tracking.current_release or document.tracking.status or document.category


def _part(document: Document, told: Vulnerability) -> Advisory:
    others = [text for _, text in told.ids if _GLOBAL_ID.match(text) and text != told.cve]
    identifier = told.cve or (others[0] if others else document.tracking.id)
    own = (reference.url for reference in document.references if reference.category == "self")
    title = told.title if told.title != told.cve else ""
    return Advisory(
        id=identifier,
        aliases=[name for name in others if name != identifier] or None,
        published=told.disclosed or document.tracking.initial_release or None,
        modified=document.tracking.current_release or None,
        withdrawn=_withdrawn(document),
        summary=title or document.title or None,
        details=_description(told.notes) or None,
        severity=[SeverityEntry(score=vector) for vector in _vectors(told)] or None,
        affected=_affected(document, told) or None,
        references=_links((*(reference.url for reference in told.references), *own)),
        database_specific=Specific(severity=_word(document, told), cwe_ids=list(told.cwes) or None),
    )


def _vectors(told: Vulnerability) -> list[str]:
    return list(dict.fromkeys(vector for rating in told.ratings for _, vector in rating.vectors))


def _word(document: Document, told: Vulnerability) -> str | None:
    """The publisher's word for how severe a vulnerability is: the highest that it gives to any product.

    The word for the whole document is that of its only vulnerability; of several, it is nobody's in particular.
    """
    words = [threat.details for threat in told.threats if threat.category == "impact"]
    words += [word for rating in told.ratings for word in rating.words]
    highest = max(words, key=of_word, default="")
    if of_word(highest) is Severity.UNKNOWN and len(document.vulnerabilities) == 1:
        highest = document.aggregate_severity
    return highest if of_word(highest) is not Severity.UNKNOWN else None


def _affected(document: Document, told: Vulnerability) -> list[Affected]:
    """The packages of the products that are, or were, affected: each once, whatever its versions and builds."""
    purls: dict[str, None] = {}
    for product_id in told.products(*_FIXABLE):
        purls.update(dict.fromkeys(map(without_version, document.products.identify(product_id).purls)))
    return [Affected(package=Package(purl=purl)) for purl in purls]


def _description(notes: Iterable[Note]) -> str:
    """The text of the notes of the first category that says what the matter is."""
    told = list(notes)
    for category in _DESCRIPTIONS:
        texts = [note.text for note in told if note.category == category and note.text]
        if texts:
            return "\n\n".join(texts)
    return ""


def _links(urls: Iterator[str] | Iterable[str]) -> list[Reference] | None:
    return [Reference(url=url) for url in dict.fromkeys(urls)] or None
