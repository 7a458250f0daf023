"""Mozilla Foundation Security Advisories: YAML, and before 2016 Markdown with YAML in front of it.

An advisory names the products' fixed versions and, in YAML, each of its CVEs with a title, a description and an impact
of its own. The canonical form of Markdown is `{"front_matter": {…}, "markdown": "…"}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import rfc8785

from stellaops.advisories.advisory import Advisory, Affected, Event, Package, Range
from stellaops.advisories.canonical import Canonical, Malformed, from_json, from_yaml
from stellaops.advisories.documents import handwritten
from stellaops.advisories.documents.document_files import DocumentFiles
from stellaops.advisories.documents.interface import Slice

_YAML = (".yml", ".yaml")
_MARKDOWN = (".md", ".markdown")
_FRONT_MATTER = re.compile(rb"---[ \t]*\r?\n(.*?\n)---[ \t]*(?:\r?\n|$)", re.DOTALL)
_CVE = re.compile(r"CVE-\d{4}-\d{4,19}", re.ASCII)
_REFERENCES = re.compile(r"<h3>\s*References\s*</h3>|^#+\s*References\s*$", re.IGNORECASE | re.MULTILINE)
_LINK = re.compile(r"""href=["'](https?://[^"'\s]+)""")
_NAMED_LINK = re.compile(r"<a\s[^>]*>\s*(CVE-\d{4}-\d{4,19})", re.ASCII)
_PRODUCT = re.compile(r"(\D.*?) (\d[\w.]*)", re.DOTALL)
_DAY = re.compile(r"([A-Za-z]+) (\d{1,2})(?:st|nd|rd|th)?, (\d{4})")
_ID = re.compile(r"mfsa-?(\d{4}-\d+)", re.IGNORECASE)


class MozillaFeed(DocumentFiles):
    """The feed of mozilla/foundation-security-advisories."""

    name = "mozilla"

    def recognises(self, path: str, content: bytes) -> bool:
        """The day of the announcement, the fixed versions and the impact, in YAML or in front of Markdown."""
        if not self.may_hold_documents(path) or b"announced:" not in content:
            return False
        try:
            head = _head(self.canonical(path, content).parsed)
        except Malformed:
            return False
        return {"announced", "fixed_in", "title"} <= set(head)

    def may_hold_documents(self, path: str) -> bool:
        """YAML and Markdown, but no README and the like."""
        base = path.rpartition("/")[2]
        suffixed = base.lower().endswith(_YAML + _MARKDOWN)
        return suffixed and not base.startswith(".") and not handwritten.stem(base).isupper()

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The file; its name is the advisory's number."""
        return (Slice(0, content, handwritten.stem(path)),)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """YAML, all scalars as texts; of Markdown its front matter so, and the rest as a text."""
        return _from_markdown(raw) if path.lower().endswith(_MARKDOWN) else from_yaml(raw)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """The fields; None for what announces nothing."""
        head = _head(parsed)
        if not {"announced", "fixed_in"} & set(head):
            return None
        handwritten.required(head, "title")
        number = _ID.fullmatch(context)
        if number is None:
            raise Malformed("no-id", f"the file's name {context[:80]!r} is no `mfsa2024-01`")
        parts = list(_parts(head)) or list(_parts_of_text(parsed, head))
        affected = [_affected(product) for product in handwritten.texts(head.get("fixed_in"))]
        return Advisory(
            id=f"MFSA-{number[1]}",
            related=_mentioned(parsed, parts),
            published=_day(handwritten.text(head.get("announced"))),
            summary=handwritten.text(head.get("title")),
            details=_details(parsed, head),
            severity=_impact(head),
            affected=None if parts else affected,
            references=handwritten.references(_links(parsed)),
            parts=[_with(part, affected) for part in parts] or None,
        )


def _from_markdown(raw: bytes) -> Canonical:
    found = _FRONT_MATTER.match(raw)
    if found is None:
        raise Malformed("no-front-matter", "Markdown that does not begin with YAML between two lines `---`")
    front = from_yaml(found[1])
    try:
        markdown = raw[found.end() :].decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("not-utf-8", str(error)) from error
    value = {"front_matter": front.parsed, "markdown": markdown}
    return Canonical(raw, True, value) if front.verbatim else from_json(rfc8785.dumps(value))


def _head(parsed: Any) -> dict[str, Any]:
    """The fields in either form."""
    document = handwritten.mapping(parsed)
    return handwritten.mapping(document["front_matter"]) if "front_matter" in document else document


def _markdown(parsed: Any) -> str:
    return handwritten.text(handwritten.mapping(parsed).get("markdown")) or ""


def _parts(head: dict[str, Any]) -> Iterator[Advisory]:
    """The vulnerabilities that YAML lists by their ids."""
    for name, entry in sorted(handwritten.mapping(head.get("advisories")).items()):
        told = handwritten.mapping(entry)
        bugs = told.get("bugs")
        yield Advisory(
            id=handwritten.identifier(name),
            summary=handwritten.text(told.get("title")),
            details=handwritten.text(told.get("description")),
            severity=_impact(told),
            references=handwritten.references(_bugs(bugs if isinstance(bugs, list) else [])),
        )


def _parts_of_text(parsed: Any, head: dict[str, Any]) -> Iterator[Advisory]:
    """The vulnerabilities that Markdown names among its references; what the prose mentions is only related."""
    markdown = _markdown(parsed)
    _, *sections = _REFERENCES.split(markdown)
    listed = _CVE.findall("\n".join(sections)) + _NAMED_LINK.findall(markdown)
    for name in sorted(set(listed)):
        yield Advisory(
            id=name,
            summary=handwritten.text(head.get("title")),
            details=_details(parsed, head),
            severity=_impact(head),
        )


def _with(part: Advisory, affected: list[Affected]) -> Advisory:
    return Advisory(
        id=part.id,
        summary=part.summary,
        details=part.details,
        severity=part.severity,
        affected=affected,
        references=part.references,
    )


def _mentioned(parsed: Any, parts: list[Advisory]) -> list[str]:
    own = {part.id for part in parts}
    return sorted(set(_CVE.findall(_markdown(parsed))) - own)


def _details(parsed: Any, head: dict[str, Any]) -> str | None:
    return handwritten.text(head.get("description")) or _markdown(parsed) or None


def _impact(told: dict[str, Any]) -> str | None:
    """The first word: some advisories go on with a condition, as in `Critical (local)`."""
    words = (handwritten.text(told.get("impact")) or "").split()
    return words[0] if words else None


def _affected(product: str) -> Affected:
    """`Firefox ESR 60.8`: vulnerable before that version."""
    found = _PRODUCT.match(product)
    name = found[1] if found else product
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    package = Package(name=name, purl=f"pkg:generic/mozilla/{slug}")
    if found is None:
        return Affected(package)
    return Affected(package, [Range("ECOSYSTEM", [Event(introduced="0"), Event(fixed=found[2])])])


def _bugs(bugs: list[Any]) -> Iterator[str]:
    """Links; a number stands for a bug of Mozilla's, and several may stand in one text."""
    for bug in bugs:
        for url in re.split(r"[,\s]+", handwritten.text(handwritten.mapping(bug).get("url")) or ""):
            if url.startswith(("http://", "https://")):
                yield url
            elif url.isdecimal():
                yield f"https://bugzilla.mozilla.org/show_bug.cgi?id={url}"


def _links(parsed: Any) -> list[str]:
    return _LINK.findall(_markdown(parsed))


def _day(text: str | None) -> str | None:
    """`January 7, 2025` as a date; None where no day is named."""
    found = _DAY.fullmatch(text or "")
    if found is None:
        return None
    try:
        return datetime.strptime(f"{found[1]} {found[2]} {found[3]}", "%B %d %Y").date().isoformat()  # noqa: DTZ007
    except ValueError:
        return None
