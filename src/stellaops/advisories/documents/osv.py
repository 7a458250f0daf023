"""OSV documents: JSON or YAML, one a file, or several in a JSON array or in JSON lines; any schema version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from stellaops.advisories.advisory import Advisory
from stellaops.advisories.canonical import Canonical, Malformed, from_json, from_yaml
from stellaops.advisories.documents.interface import Slice

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
_ADVISORIES = msgspec.json.Decoder(Advisory)
_ANYTHING = msgspec.json.Decoder()
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TELLTALES = frozenset(
    ("affected", "aliases", "details", "summary", "schema_version", "modified", "withdrawn")
)


class OsvFeed:
    """The OSV feed."""

    name = "osv"

    def may_hold_documents(self, path: str) -> bool:
        """JSON and YAML files, except the well-known names of indexes and hidden files."""
        base = path.rpartition("/")[2].lower()
        return (
            base.endswith(_JSON + _LINES + _YAML) and not base.startswith(".") and base not in _NO_DOCUMENTS
        )

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The file itself, or the elements of its JSON array, or its lines."""
        if path.lower().endswith(_LINES):
            return _lines(content)
        if path.lower().endswith(_JSON) and content.lstrip()[:1] == b"[":
            return _elements(content)
        return (Slice(0, content),)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """JSON or YAML by the file's name."""
        return from_yaml(raw) if path.lower().endswith(_YAML) else from_json(raw)

    def read(self, parsed: bytes) -> Advisory | None:
        """The fields of an OSV document; None for JSON that has nothing of an advisory."""
        try:
            advisory = _ADVISORIES.decode(parsed)
        except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
            if not _looks_like_advisory(parsed):
                return None
            reason = "no-id" if "`id`" in str(error) and "missing" in str(error) else "schema"
            raise Malformed(reason, str(error)) from error
        if not advisory.id.strip() or len(advisory.id) > _MAX_ID or advisory.id != advisory.id.strip():
            raise Malformed(
                "no-id", f"the id {advisory.id[:80]!r} is empty, too long or has blanks around it"
            )
        return advisory


def _looks_like_advisory(parsed: bytes) -> bool:
    value = _ANYTHING.decode(parsed)
    return isinstance(value, dict) and ("id" in value or not _TELLTALES.isdisjoint(value))


def _elements(content: bytes) -> Iterator[Slice]:
    try:
        items = _LIST.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed("not-json", str(error) or "nested too deep") from error
    position = 0
    for item in items:
        raw = bytes(item)
        position = content.index(raw, position)
        yield Slice(position, raw)
        position += len(raw)


def _lines(content: bytes) -> Iterator[Slice]:
    position = 0
    for line in content.splitlines(keepends=True):
        raw = line.strip()
        if raw:
            yield Slice(position + line.index(raw), raw)
        position += len(line)
