"""The Ruby Advisory Database: one YAML file for each gem or Ruby engine and vulnerability.

A version is vulnerable unless a requirement of `patched_versions` or `unaffected_versions` holds for it. Ids stand
without their prefixes, and one CVE is told of several gems, so that a record is known by its path.
"""

from __future__ import annotations

from typing import Any

from stellaops.advisories.advisory import Advisory, Affected, Event, Package, Range
from stellaops.advisories.canonical import Malformed, from_yaml
from stellaops.advisories.documents import handwritten

_TELLTALES = ("title", "url", "date")


class RubysecFeed(handwritten.YamlFiles):
    """The feed of rubysec/ruby-advisory-db."""

    name = "rubysec"

    def recognises(self, path: str, content: bytes) -> bool:
        """YAML with a gem or an engine, a title, a link and a date."""
        if not self.may_hold_documents(path) or b"title:" not in content:
            return False
        try:
            return _is_advisory(from_yaml(content).parsed)
        except Malformed:
            return False

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """The fields; None for YAML about neither a gem nor an engine."""
        if not isinstance(parsed, dict) or not {"gem", "engine"} & set(parsed):
            return None
        handwritten.required(parsed, "title")
        names = [
            *handwritten.named("CVE-", parsed.get("cve")),
            *(name[:5] + name[5:].lower() for name in handwritten.named("GHSA-", parsed.get("ghsa"))),
            *handwritten.named("OSVDB-", parsed.get("osvdb")),
        ]
        own = handwritten.identifier(*names, context)
        related = handwritten.mapping(parsed.get("related"))
        return Advisory(
            id=own,
            aliases=[name for name in names if name != own],
            related=[
                *handwritten.named("CVE-", related.get("cve")),
                *handwritten.named("GHSA-", related.get("ghsa")),
            ],
            published=handwritten.text(parsed.get("date")),
            summary=handwritten.text(parsed.get("title")),
            details=handwritten.text(parsed.get("description")),
            severity=handwritten.word_of_score(*(parsed.get(f"cvss_v{number}") for number in (4, 3, 2))),
            affected=[_affected(parsed)],
            references=handwritten.references(
                handwritten.texts(parsed.get("url")), handwritten.texts(related.get("url"))
            ),
        )


def _is_advisory(parsed: Any) -> bool:
    return (
        isinstance(parsed, dict)
        and any(isinstance(parsed.get(name), str) for name in ("gem", "engine"))
        and all(name in parsed for name in _TELLTALES)
    )


def _affected(document: dict[str, Any]) -> Affected:
    patched = handwritten.constraints(document, "patched_versions")
    unaffected = handwritten.constraints(document, "unaffected_versions")
    if "gem" in document:
        package = Package("RubyGems", handwritten.required_text(document, "gem"))
    else:
        engine = handwritten.required_text(document, "engine")
        package = Package(name=engine, purl=f"pkg:generic/{engine}")
    if patched or unaffected:
        return handwritten.requirements(package, patched=patched, unaffected=unaffected)
    return Affected(package, [Range("ECOSYSTEM", [Event(introduced="0")])])
