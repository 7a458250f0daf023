"""Lists of Maven artefacts with their SHA-1: CSV with a header, JSON lines, or the components of a CycloneDX document.

A list says of which artefact a file is; it says nothing of vulnerabilities. The record is one line or one component,
so that it is an exact slice of its file in whatever order the list comes, and its key names everything that it states:
`group:artifact:version:type:sha1`. Two files of one version (with classifiers, or from two repositories) are two
records.

The canonical form of a CSV line is the JSON array of its cells; the header is the record's context.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import unquote

import msgspec

from stellaops.advisories.advisory import Advisory, Affected, Artefact, Package
from stellaops.advisories.canonical import MAX_NODES, Canonical, Malformed, from_json
from stellaops.advisories.documents.interface import Listing, Slice
from stellaops.core import timestamps

_CSV = (".csv",)
_LINES = (".jsonl", ".ndjson")
_JSON = (".json",)
_BOM = b"\xef\xbb\xbf"
_LOOKED_AT = 20
_COMPONENT = "component"
"""The context of a CycloneDX component."""
_MAX_NESTING = 8

# The names of the Maven Central index reader, of the search service, and of the columns of Trivy's own database.
# Of several that a list has, the first of a row decides: a packaging says less than the file's own extension.
_NAMES: dict[str, tuple[str, ...]] = {
    "group": ("groupid", "group_id", "group", "g"),
    "artifact": ("artifactid", "artifact_id", "artifact", "a"),
    "version": ("version", "v"),
    "sha1": ("sha1", "sha-1"),
    "type": ("archivetype", "archive_type", "fileextension", "extension", "packaging", "type", "p"),
    "classifier": ("classifier", "l"),
    "modified": ("lastmodified", "last_modified", "filemodified", "timestamp"),
}
_NEEDED = ("group", "artifact", "version", "sha1")

# Packagings whose file is a jar.
_JARS = frozenset(
    ("", "jar", "bundle", "eclipse-plugin", "ejb", "hk2-jar", "maven-archetype", "maven-plugin", "test-jar")
)
# Files that stand beside an artefact and hold none of its code as it runs.
_BESIDE = frozenset(
    ("sources", "test-sources", "javadoc", "scaladoc", "kdoc", "groovydoc", "tests", "test", "test-javadoc")
)
_SHA1 = re.compile(r"[0-9a-fA-F]{40}")
_COORDINATE = re.compile(r"[A-Za-z0-9_.$+~!@%#&()\[\]{},;=^'-]{1,200}")
_MEMBER = re.compile(rb'[\s,{]*"(?:[^"\\]|\\.)*"\s*:\s*')
_BLANKS = re.compile(rb"[\s,\[]*")

_SORTED = msgspec.json.Encoder()
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


class MavenIndexFeed:
    """The feed of artefact lists."""

    name = "maven-index"
    publishes_listings = False

    def recognises(self, path: str, content: bytes) -> bool:
        """A header with the columns, a line with the fields, or a component that is a Maven artefact with a SHA-1."""
        name = path.lower()
        if name.endswith(_CSV + _LINES):
            return head_of_list(path, content) is not None
        if not name.endswith(_JSON) or b"pkg:maven/" not in content or b"SHA-1" not in content:
            return False
        try:
            return any(_is_artefact(piece.raw) for piece in _components(content))
        except Malformed:
            return False

    def listing(self, path: str, content: bytes) -> Listing | None:
        """None: no list says that it is complete."""
        return None

    def may_hold_documents(self, path: str) -> bool:
        """CSV, JSON lines and JSON files."""
        base = path.rpartition("/")[2].lower()
        return base.endswith(_CSV + _LINES + _JSON) and not base.startswith(".")

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The lines after the header, the lines, or the components with those nested in them."""
        name = path.lower()
        if name.endswith(_CSV):
            header, start = _header(content)
            if _places(_cells_lowered(header)) is None:
                raise Malformed(
                    "no-header", f"the first line names no {', '.join(_NEEDED)}: {header[:200]!r}"
                )
            return _lines(content, start, header)
        return _lines(content, 0, "") if name.endswith(_LINES) else _components(content)

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """Of a CSV line the array of its cells; of the others, their JSON."""
        if not path.lower().endswith(_CSV):
            return from_json(raw)
        cells = _cells(_text(raw))
        return Canonical(_SORTED.encode(cells), False, cells)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """The artefact; None for what is no jar or aar, and for components of other ecosystems."""
        if isinstance(parsed, list) and context:
            return _stated(_cells_lowered(context), parsed)
        if not isinstance(parsed, dict):
            raise Malformed("schema", f"an object is needed, not {type(parsed).__name__}")
        if context == _COMPONENT:
            return _component(parsed)
        names = tuple(name.lower() for name in parsed)
        return _stated(names, list(parsed.values())) if _is_meant(names) else None


def head_of_list(path: str, head: bytes) -> bytes | None:
    """What stands before the lines of a list, so that a large one can be cut between any two of them.

    Args:
        head: the beginning of the file, with some of its lines.

    Returns:
        The header with its newline, or nothing; None where the file is no list of lines of this form.
    """
    name = path.lower()
    if name.endswith(_CSV):
        header, start = _header(head)
        return head[:start] if _places(_cells_lowered(header)) is not None else None
    if name.endswith(_LINES):
        lines = islice(_lines(head, 0, ""), _LOOKED_AT)
        return b"" if any(_is_line(piece.raw) for piece in lines) else None
    return None


def _is_line(raw: bytes) -> bool:
    try:
        parsed = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return isinstance(parsed, dict) and _places(tuple(name.lower() for name in parsed)) is not None


def _is_meant(names: tuple[str, ...]) -> bool:
    return any(name in names for field in ("group", "artifact", "sha1") for name in _NAMES[field])


# ---- lines


def _header(content: bytes) -> tuple[str, int]:
    """The first line that is not empty, and where the next begins."""
    start = len(_BOM) if content.startswith(_BOM) else 0
    while start < len(content):
        end = content.find(b"\n", start) + 1 or len(content)
        line = content[start:end].strip()
        if line:
            return line.decode("utf-8", "replace"), end
        start = end
    return "", len(content)


def _lines(content: bytes, position: int, context: str) -> Iterator[Slice]:
    if position == 0 and content.startswith(_BOM):
        position = len(_BOM)
    size = len(content)
    while position < size:
        end = content.find(b"\n", position)
        end = size if end < 0 else end
        line = content[position:end]
        raw = line.strip()
        if raw:
            yield Slice(position + line.index(raw), raw, context)
        position = end + 1


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("not-utf-8", str(error)) from error


def _cells(line: str) -> list[str]:
    if '"' not in line and "\r" not in line and "\0" not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise Malformed("not-csv", str(error)) from error


@lru_cache(maxsize=64)
def _cells_lowered(header: str) -> tuple[str, ...]:
    try:
        return tuple(cell.strip().lower() for cell in _cells(header))
    except Malformed:
        return ()


@lru_cache(maxsize=1024)
def _places(names: tuple[str, ...]) -> Mapping[str, int] | None:
    """Where each field stands among some names; None where one that is needed has no place."""
    found = _known(names)
    return found if all(field in found for field in _NEEDED) else None


@lru_cache(maxsize=1024)
def _known(names: tuple[str, ...]) -> Mapping[str, int]:
    return {
        field: names.index(chosen)
        for field, spellings in _NAMES.items()
        for chosen in [next((name for name in spellings if name in names), None)]
        if chosen is not None
    }


def _stated(names: tuple[str, ...], values: list[Any]) -> Advisory | None:
    if len(values) > len(names):
        raise Malformed("columns", f"{len(values)} cells under a header of {len(names)}")
    places = _known(names)
    told: dict[str, str] = {}
    for field, place in places.items():
        value = values[place] if place < len(values) else None
        if field == "modified" and isinstance(value, int):
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise Malformed("schema", f"{names[place]} is no text but {str(value)[:80]!r}")
        told[field] = (value or "").strip()
    return _advisory(told)


# ---- components


def _components(content: bytes) -> Iterable[Slice]:
    if b"CycloneDX" not in content:
        return ()
    start = len(_BOM) if content.startswith(_BOM) else 0
    document = content[start:]
    members = _members(document)
    if bytes(members.get("bomFormat", b"")) != b'"CycloneDX"':
        return ()
    if document.count(b",") > 5 * MAX_NODES:
        raise Malformed(
            "too-many-nodes", "an SBOM with millions of values; list the artefacts as CSV or JSON lines"
        )
    return list(_nested(document, members, start, 0))


def _members(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _OBJECT.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed("not-json", str(error)[:300]) from error


def _nested(raw: bytes, members: dict[str, msgspec.Raw], offset: int, depth: int) -> Iterator[Slice]:
    """The components of an object that stands at some offset of the file, and of those in turn."""
    if "components" not in members:
        return
    if depth > _MAX_NESTING:
        raise Malformed("too-deep", f"components are nested in more than {_MAX_NESTING} levels")
    array = bytes(members["components"])
    place = _place_of(raw, members, "components")
    try:
        items = _ARRAY.decode(array)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed("schema", f"components: {str(error)[:300]}") from error
    position = 0
    for item in items:
        component = bytes(item)
        position = _BLANKS.match(array, position).end()  # type: ignore[union-attr]  # it matches nothing too
        if not array.startswith(component, position):
            raise Malformed("schema", "components cannot be told apart")
        begin = offset + place + position
        yield Slice(begin, component, _COMPONENT)
        if b'"components"' in component:
            yield from _nested(component, _members(component), begin, depth + 1)
        position += len(component)


def _place_of(raw: bytes, members: dict[str, msgspec.Raw], name: str) -> int:
    """Where the value of a member begins."""
    position = 0
    for key, value in members.items():
        token = _MEMBER.match(raw, position)
        text = bytes(value)
        if token is None or not raw.startswith(text, token.end()):
            break
        if key == name:
            return token.end()
        position = token.end() + len(text)
    raise Malformed("duplicate-key", f"a member stands twice beside {name!r}")


def _is_artefact(raw: bytes) -> bool:
    try:
        parsed = msgspec.json.decode(raw)
        return isinstance(parsed, dict) and _component(parsed) is not None
    except (Malformed, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False


def _component(parsed: dict[str, Any]) -> Advisory | None:
    purl = parsed.get("purl")
    if not isinstance(purl, str) or not purl.startswith("pkg:maven/"):
        return None
    path, _, qualifiers = purl.removeprefix("pkg:maven/").partition("#")[0].partition("?")
    name, _, version = path.partition("@")
    group, _, artifact = name.rpartition("/")
    stated = dict(pair.partition("=")[::2] for pair in qualifiers.split("&"))
    hashes = parsed.get("hashes")
    digests = [
        found.get("content")
        for found in (hashes if isinstance(hashes, list) else ())
        if isinstance(found, dict) and found.get("alg") == "SHA-1"
    ]
    sha1 = digests[0] if digests else ""
    return _advisory(
        {
            "group": unquote(group),
            "artifact": unquote(artifact),
            "version": unquote(version),
            "type": unquote(stated.get("type", "")),
            "classifier": unquote(stated.get("classifier", "")),
            "sha1": sha1 if isinstance(sha1, str) else str(sha1)[:80],
        }
    )


# ---- what is told


def _advisory(told: Mapping[str, str]) -> Advisory | None:
    archive = _archive_type(told.get("type", ""))
    if archive is None or told.get("classifier", "").lower() in _BESIDE:
        return None
    group, artifact, version = (_coordinate(told, field) for field in ("group", "artifact", "version"))
    sha1 = told.get("sha1", "")
    if not _SHA1.fullmatch(sha1):
        reason = "bad-sha1" if sha1 else "no-sha1"
        raise Malformed(reason, f"{group}:{artifact}:{version} has no SHA-1 of 40 digits: {sha1[:80]!r}")
    file = Artefact(group, artifact, version, archive, sha1.lower())
    name = f"{group}:{artifact}"
    return Advisory(
        id=f"{name}:{version}:{archive}:{file.sha1}",
        modified=_instant(told.get("modified", "")),
        affected=[Affected(package=Package("Maven", name), versions=[version])],
        artefact=file,
    )


def _archive_type(word: str) -> str | None:
    lowered = word.lower()
    return "jar" if lowered in _JARS else "aar" if lowered == "aar" else None


def _coordinate(told: Mapping[str, str], field: str) -> str:
    text = told.get(field, "")
    if not text:
        raise Malformed(f"no-{field}", f"the record has no {field}")
    if not _COORDINATE.fullmatch(text):
        raise Malformed("bad-coordinate", f"{text[:80]!r} cannot be a {field} of a Maven artefact")
    return text


def _instant(text: str) -> str | None:
    """An instant as text; the index reader and the search service state milliseconds since 1970."""
    if not (text.isascii() and text.isdecimal()):
        return text or None
    try:
        return timestamps.render(datetime.fromtimestamp(int(text) / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        return None
