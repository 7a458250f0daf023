"""Bills of materials as evidence: one document a file, in any of the forms."""

from __future__ import annotations

from typing import Any

from stellaops.advisories.canonical import Canonical, Malformed, from_json
from stellaops.advisories.documents.document_files import DocumentFiles
from stellaops.sboms.component import Sbom
from stellaops.sboms.formats.registry import FORMS

_ENDINGS = (".json", ".xml", ".spdx", ".tag", ".cdx", ".bom")
_LONGEST_SUBJECT = 1000


class SbomFeed(DocumentFiles):
    """The feed of bills of materials."""

    name = "sbom"

    def recognises(self, path: str, content: bytes) -> bool:
        """A document of one of the forms."""
        if not self.may_hold_documents(path):
            return False
        try:
            return _is_one(self.canonical(path, content).parsed)
        except Malformed:
            return False

    def may_hold_documents(self, path: str) -> bool:
        """Files by the endings that tools use; hidden ones are left out."""
        base = path.rpartition("/")[2].lower()
        return base.endswith(_ENDINGS) and not base.startswith(".")

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """JSON; other encodings have no canonical JSON and keep their own bytes."""
        for form in FORMS:
            value = form.parsed(path, raw)
            if value is not None:
                return Canonical(raw, True, value)
        return from_json(raw)

    def read(self, parsed: Any, context: str = "") -> Sbom | None:
        """What the document says; None for what is of none of the forms.

        Raises:
            Malformed: nothing says what it is about.
        """
        for form in FORMS:
            if form.is_one(parsed):
                return _checked(form.read(parsed))
        return None


def _checked(sbom: Sbom) -> Sbom:
    if not sbom.id or not sbom.id.isprintable() or len(sbom.id) > _LONGEST_SUBJECT:
        raise Malformed("no-id", "names neither what it is about nor a number of its own")
    return sbom


def _is_one(value: Any) -> bool:
    return any(form.is_one(value) for form in FORMS)
