"""The advisories of the Node.js security working group: one JSON file each, about an npm package or Node.js itself.

Beside them lie an `index.json` of each folder, which repeats its files, and `deps`: statements that Node.js is not
affected by a vulnerability of something that it bundles, which are no advisories.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from stellaops.advisories.advisory import Advisory, Package, SeverityEntry, Specific
from stellaops.advisories.canonical import Canonical, Malformed, from_json
from stellaops.advisories.documents import handwritten
from stellaops.advisories.documents.document_files import DocumentFiles
from stellaops.advisories.documents.interface import Slice

_NPM, _CORE = "vulnerable_versions", "vulnerable"
_CWE = re.compile(r"CWE-\d+", re.ASCII)


class NodejsWgFeed(DocumentFiles):
    """The feed of nodejs/security-wg."""

    name = "nodejs-wg"

    def recognises(self, path: str, content: bytes) -> bool:
        """JSON with vulnerable versions and either a module's name or CVEs and patched versions."""
        if not self.may_hold_documents(path) or f'"{_CORE}'.encode() not in content:
            return False
        try:
            parsed = from_json(content).parsed
        except Malformed:
            return False
        return isinstance(parsed, dict) and (
            {"module_name", _NPM, "overview"} <= set(parsed)
            or ({"cve", _CORE, "patched"} <= set(parsed) and isinstance(parsed["cve"], list))
        )

    def may_hold_documents(self, path: str) -> bool:
        """JSON files other than the indexes."""
        base = path.rpartition("/")[2].lower()
        return base.endswith(".json") and not base.startswith(".") and base != "index.json"

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The file; its name is the number of an advisory about Node.js itself."""
        return (Slice(0, content, handwritten.stem(path)),)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """JSON."""
        return from_json(raw)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """The fields; None for JSON that names no vulnerable versions."""
        if not isinstance(parsed, dict) or not {"module_name", _NPM, _CORE} & set(parsed):
            return None
        return _npm(parsed) if {"module_name", _NPM} & set(parsed) else _core(parsed, context)


def _npm(document: dict[str, Any]) -> Advisory:
    number = document.get("id")
    own = f"NSWG-ECO-{number}" if isinstance(number, int) and not isinstance(number, bool) else None
    vector = handwritten.text(document.get("cvss_vector"))
    word = None if vector else handwritten.word_of_score(document.get("cvss_score"))
    return Advisory(
        id=handwritten.identifier(own),
        aliases=handwritten.texts(document.get("cves")),
        published=handwritten.text(document.get("publish_date")),
        modified=handwritten.text(document.get("updated_at")),
        summary=handwritten.text(document.get("title")),
        details=handwritten.text(document.get("overview")),
        severity=[SeverityEntry("CVSS_V3", vector)] if vector else word,
        affected=[
            handwritten.requirements(
                Package("npm", handwritten.required_text(document, "module_name")),
                vulnerable=[handwritten.required_text(document, _NPM)],
                patched=handwritten.constraints(document, "patched_versions"),
            )
        ],
        references=handwritten.references(handwritten.texts(document.get("references"))),
    )


def _core(document: dict[str, Any], number: str) -> Advisory:
    vector = handwritten.text(document.get("cvss"))
    full = None if vector is None else f"CVSS:{vector.removeprefix('CVSS:')}"
    return Advisory(
        id=handwritten.identifier(f"NSWG-COR-{number}" if number else None),
        aliases=handwritten.texts(document.get("cve")),
        published=handwritten.text(document.get("publish_date")),
        summary=handwritten.text(document.get("description")),
        details=handwritten.text(document.get("overview")),
        severity=[SeverityEntry("CVSS_V3", full)] if full else None,
        affected=[
            handwritten.requirements(
                Package(name="node", purl="pkg:generic/node"),
                vulnerable=[handwritten.required_text(document, _CORE)],
                patched=handwritten.constraints(document, "patched"),
            )
        ],
        references=handwritten.references(handwritten.texts(document.get("ref"))),
        database_specific=Specific(
            severity=handwritten.text(document.get("severity")),
            cwe_ids=_CWE.findall(handwritten.text(document.get("type")) or ""),
        ),
    )
