"""OSV documents: JSON or YAML, one a file, or several in a JSON array or in JSON lines; any schema version."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from stellaops.advisories.advisory import Advisory
from stellaops.advisories.canonical import Canonical, Malformed, from_json, from_yaml
from stellaops.advisories.documents.interface import Listing, Slice

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
_BOM = b"\xef\xbb\xbf"
# In one file: an array of advisories of the largest size has far fewer.
_MOST_SEPARATORS = 5_000_000
_MAX_ID = 256
# So many records of a file are looked at to tell its form.
_LOOKED_AT = 20
_NO_BLANK = re.compile(r"[^ \t\r\n]")
_SCANNER = json.JSONDecoder(parse_int=str, parse_float=str)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TELLTALES = frozenset(
    ("affected", "aliases", "details", "summary", "schema_version", "modified", "withdrawn")
)


class OsvFeed:
    """The OSV feed."""

    name = "osv"
    publishes_listings = False

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

    def listing(self, path: str, content: bytes) -> Listing | None:
        """None: no OSV file says that it is complete."""
        return None

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
        if path.lower().endswith(_JSON) and content.removeprefix(_BOM).lstrip()[:1] == b"[":
            return _elements(content)
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
        return advisory


def _looks_like_advisory(parsed: Any) -> bool:
    return isinstance(parsed, dict) and ("id" in parsed or not _TELLTALES.isdisjoint(parsed))


def _elements(content: bytes) -> Iterable[Slice]:
    if content.count(b",") > _MOST_SEPARATORS:
        raise Malformed("too-many-nodes", "an array with millions of values; cut it into several files")
    start = len(_BOM) if content.startswith(_BOM) else 0
    try:
        items = _LIST.decode(memoryview(content)[start:])
    except (msgspec.DecodeError, RecursionError):
        # One element with a lone surrogate or NaN must not cost its neighbours.
        return _elements_carefully(content, start)
    return _placed(content, start, items)


def _placed(content: bytes, position: int, items: list[msgspec.Raw]) -> Iterator[Slice]:
    for item in items:
        raw = bytes(item)
        position = content.index(raw, position)
        yield Slice(position, raw)
        position += len(raw)


def _elements_carefully(content: bytes, start: int) -> list[Slice]:
    try:
        text = content[start:].decode("utf-8")
        spans = _spans(text)
    except UnicodeDecodeError as error:
        raise Malformed("not-utf-8", str(error)) from error
    except RecursionError as error:
        raise Malformed("too-deep", "an element is nested too deep to be read") from error
    except ValueError as error:
        raise Malformed("not-json", str(error)[:300]) from error
    slices = []
    position, reached = start, 0
    for begin, end in spans:
        position += len(text[reached:begin].encode())
        raw = text[begin:end].encode()
        slices.append(Slice(position, raw))
        position, reached = position + len(raw), end
    return slices


def _spans(text: str) -> list[tuple[int, int]]:
    """Where the elements of a JSON array begin and end."""
    spans: list[tuple[int, int]] = []
    place = _skip_blanks(text, _skip_blanks(text, 0) + 1)
    while text[place : place + 1] != "]" or spans:
        end = _SCANNER.raw_decode(text, place)[1]
        spans.append((place, end))
        place = _skip_blanks(text, end)
        if text[place : place + 1] != ",":
            break
        place = _skip_blanks(text, place + 1)
    if text[place : place + 1] != "]" or _skip_blanks(text, place + 1) != len(text):
        raise ValueError(f"the array does not end as it must at character {place}")
    return spans


def _skip_blanks(text: str, place: int) -> int:
    found = _NO_BLANK.search(text, place)
    return found.start() if found else len(text)


def _lines(content: bytes) -> Iterator[Slice]:
    position = 0
    for line in content.splitlines(keepends=True):
        raw = line.strip()
        if raw:
            yield Slice(position + line.index(raw), raw)
        position += len(line)
