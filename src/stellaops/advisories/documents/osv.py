"""OSV documents: JSON or YAML, one a file, or several in a JSON array or in JSON lines; any schema version."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec

from stellaops.advisories.advisory import Advisory
from stellaops.advisories.canonical import Canonical, Malformed, from_json, from_yaml
from stellaops.advisories.documents.document_files import DocumentFiles
from stellaops.advisories.documents.interface import Slice
from stellaops.advisories.documents.slices import BOM, elements, lines

_JSON = (".json",)
_LINES = (".jsonl", ".ndjson")
_YAML = (".yaml", ".yml")
# Files of these names belong to the repositories and buckets that documents come in.
_NO_DOCUMENTS = frozenset(
    (
        "index.json",
        "package.json",
        "package-lock.json",
        "composer.json",
        "manifest.json",
        "all.json",
        "tsconfig.json",
    )
)
_MAX_ID = 256
_NOT_SET = "0001-01-01"
"""What generators write for an instant that is not set."""
# So many records of a file are looked at to tell its form.
_LOOKED_AT = 20
_TELLTALES = frozenset(
    ("affected", "aliases", "details", "summary", "schema_version", "modified", "withdrawn")
)


class OsvFeed(DocumentFiles):
    """The OSV feed."""

    name = "osv"

    def recognises(self, path: str, content: bytes) -> bool:
        """JSON or YAML where one of the first records has an id and something else of an OSV document."""
        if not self.may_hold_documents(path):
            return False
        try:
            pieces = islice(self.records(path, content), _LOOKED_AT)
            return any(self._is_osv(path, piece.raw) for piece in pieces)
        except Malformed:
            return False

    def _is_osv(self, path: str, raw: bytes) -> bool:
        try:
            parsed = self.canonical(path, raw).parsed
        except Malformed:
            return False
        return (
            isinstance(parsed, dict)
            and isinstance(parsed.get("id"), str)
            and not _TELLTALES.isdisjoint(parsed)
        )

    def may_hold_documents(self, path: str) -> bool:
        """JSON and YAML files, except the well-known names of indexes and hidden files."""
        base = path.rpartition("/")[2].lower()
        return (
            base.endswith(_JSON + _LINES + _YAML) and not base.startswith(".") and base not in _NO_DOCUMENTS
        )

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The file itself, or the elements of its JSON array, or its lines."""
        if path.lower().endswith(_LINES):
            return lines(content)
        if path.lower().endswith(_JSON) and content.removeprefix(BOM).lstrip()[:1] == b"[":
            return elements(content)
        return (Slice(0, content),)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """JSON or YAML by the file's name."""
        return from_yaml(raw) if path.lower().endswith(_YAML) else from_json(raw)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """The fields of an OSV document; None for JSON that has nothing of an advisory."""
        try:
            advisory = msgspec.convert(parsed, Advisory)
        except msgspec.ValidationError as error:
            if not _looks_like_advisory(parsed):
                return None
            reason = "no-id" if "`id`" in str(error) and "missing" in str(error) else "schema"
            raise Malformed(reason, str(error)) from error
        identifier = advisory.id
        if (
            not 0 < len(identifier) <= _MAX_ID
            or identifier != identifier.strip()
            or not identifier.isprintable()
        ):
            raise Malformed(
                "no-id",
                f"the id {identifier[:80]!r} is empty, too long, not printable or has blanks around it",
            )
        if (advisory.withdrawn or "").startswith(_NOT_SET):
            return msgspec.structs.replace(advisory, withdrawn=None)
        return advisory


def _looks_like_advisory(parsed: Any) -> bool:
    return isinstance(parsed, dict) and ("id" in parsed or not _TELLTALES.isdisjoint(parsed))
