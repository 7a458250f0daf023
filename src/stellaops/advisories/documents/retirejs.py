"""retire.js: JSON lists of JavaScript libraries with their vulnerabilities.

Two files are written by hand: `jsrepository-master.json` about libraries as they stand on web pages, and
`npmrepository.json` about npm packages. The other `jsrepository*.json` are built from the first for older clients, and
`jsrepository-backdoored.json` lists addresses; they are no documents.

A record is one vulnerability of one library, which has no id of its own: it is named by the list, the library and the
best name that it states. A later record of the same name is told apart by its versions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stellaops.advisories.advisory import Advisory, Affected, Event, Package, Range, Specific
from stellaops.advisories.canonical import Canonical, Malformed, from_json
from stellaops.advisories.documents import handwritten, slices
from stellaops.advisories.documents.interface import Listing, Slice

_BUILT = re.compile(r"jsrepository(-v\d+)?(-combined)?\.json|jsrepository-backdoored\.json")
_EXAMPLE = "retire-example"
_RANGES = frozenset(("ranges", "below", "atOrAbove"))
_NAMES = ("githubID", "issue", "PR", "bug", "osvdb", "release", "blog", "gist", "tenable", "advisory")
_CVE = re.compile(r"CVE-\d{4}-\d{4,19}", re.ASCII)
_LONGEST_NAME = 120


class _Context(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the file says around a vulnerability.

    Attributes:
        list: `retire.js` for libraries on web pages, `retire.js-npm` for npm packages.
        npm: the library's name on npm, where it has one.
        repeats: the versions, where another record of the library has the same name.
    """

    list: str = "retire.js"
    library: str = ""
    npm: str = ""
    repeats: str = ""


_CONTEXTS = msgspec.json.Decoder(_Context)


class RetireJsFeed:
    """The feed of RetireJS/retire.js."""

    name = "retirejs"
    publishes_listings = False

    def recognises(self, path: str, content: bytes) -> bool:
        """A JSON object of libraries, of which one lists vulnerabilities with versions."""
        if not self.may_hold_documents(path) or b'"vulnerabilities"' not in content:
            return False
        try:
            parsed = from_json(content).parsed
        except Malformed:
            return False
        entries = (entry for library in handwritten.mapping(parsed).values() for entry in _entries(library))
        return any(isinstance(entry, dict) and not _RANGES.isdisjoint(entry) for entry in entries)

    def listing(self, path: str, content: bytes) -> Listing | None:
        """None: a list names no date by which two of its editions could be put in order."""
        return None

    def may_hold_documents(self, path: str) -> bool:
        """JSON files other than those that are built."""
        base = path.rpartition("/")[2].lower()
        return base.endswith(".json") and not base.startswith(".") and _BUILT.fullmatch(base) is None

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The vulnerabilities of every library but the example."""
        parsed = from_json(content).parsed
        libraries = [library for library in handwritten.mapping(parsed).values() if _entries(library)]
        about_pages = any("extractors" in library for library in libraries)
        return _records(content, "retire.js" if about_pages else "retire.js-npm")

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """JSON."""
        return from_json(raw)

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """The fields."""
        if not isinstance(parsed, dict) or _RANGES.isdisjoint(parsed):
            raise Malformed("schema", "a vulnerability without versions")
        around = _CONTEXTS.decode(context or "{}")
        own = ":".join(filter(None, (around.list, around.library, _best_name(parsed), around.repeats)))
        names = handwritten.mapping(parsed.get("identifiers"))
        cves = [name for name in handwritten.texts(names.get("CVE")) if _CVE.fullmatch(name)]
        return Advisory(
            id=handwritten.identifier(own),
            aliases=[
                *cves,
                *handwritten.named("GHSA-", names.get("githubID")),
                *handwritten.named("OSVDB-", names.get("osvdb")),
            ],
            summary=handwritten.text(parsed.get("summary")) or handwritten.text(names.get("summary")),
            details=handwritten.text(parsed.get("details")),
            severity=handwritten.text(parsed.get("severity")),
            affected=[_affected(parsed, around)],
            references=handwritten.references(handwritten.texts(parsed.get("info"))),
            database_specific=Specific(cwe_ids=handwritten.texts(parsed.get("cwe"))),
        )


def _entries(library: Any) -> list[Any]:
    listed = handwritten.mapping(library).get("vulnerabilities")
    return listed if isinstance(listed, list) else []


def _records(content: bytes, name_of_list: str) -> Iterator[Slice]:
    for library, whole in slices.members(content).items():
        if library == _EXAMPLE or not slices.is_object(whole.raw):
            continue
        inside = slices.members(whole.raw)
        listed = inside.get("vulnerabilities")
        if listed is None or not listed.raw.startswith(b"["):
            continue
        npm = handwritten.text(from_json(inside["npmname"].raw).parsed) if "npmname" in inside else None
        around = _Context(name_of_list, library, library if name_of_list != "retire.js" else npm or "")
        yield from _of_library(listed, whole.offset, around)


def _of_library(listed: Slice, start: int, around: _Context) -> Iterator[Slice]:
    seen: set[str] = set()
    for piece in slices.elements(listed.raw):
        try:
            parsed = from_json(piece.raw).parsed
        except Malformed:
            parsed = None
        name = _best_name(handwritten.mapping(parsed))
        repeats = _versions(handwritten.mapping(parsed)) if name in seen else ""
        seen.add(name)
        context = msgspec.json.encode(msgspec.structs.replace(around, repeats=repeats)).decode()
        yield Slice(start + listed.offset + piece.offset, piece.raw, context)


def _best_name(entry: dict[str, Any]) -> str:
    """What will stay the vulnerability's name: retire.js's own number, a CVE, a name elsewhere, a link, its words."""
    names = handwritten.mapping(entry.get("identifiers"))
    own = handwritten.text(names.get("retid"))
    if own is not None:
        return f"retid-{own}"[:_LONGEST_NAME]
    cves = [name for name in handwritten.texts(names.get("CVE")) if _CVE.fullmatch(name)]
    if cves:
        return cves[0]
    for kind in _NAMES:
        for value in handwritten.texts(names.get(kind)):
            return value if kind == "githubID" else _short(f"{kind}-{value}")
    words = handwritten.texts(entry.get("info")) or handwritten.texts(entry.get("summary"))
    return _short((words or handwritten.texts(names.get("summary")) or ["unnamed"])[0])


def _short(name: str) -> str:
    """A name that can stand in an id: one with blanks or of great length is told by its digest."""
    if len(name) <= _LONGEST_NAME and name.isprintable() and " " not in name:
        return name
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]


def _ranges(entry: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    """From (inclusive) and below; None where it has no such bound."""
    listed = entry["ranges"] if isinstance(entry.get("ranges"), list) else [entry]
    return [
        (handwritten.text(one.get("atOrAbove")), handwritten.text(one.get("below")))
        for one in listed
        if isinstance(one, dict)
    ]


def _versions(entry: dict[str, Any]) -> str:
    return _short("|".join(f"{low or '0'}..{high or ''}" for low, high in _ranges(entry)))


def _affected(entry: dict[str, Any], around: _Context) -> Affected:
    purl = f"pkg:npm/{around.npm}" if around.npm else f"pkg:generic/{around.library}"
    spans = []
    for low, high in _ranges(entry):
        events = [Event(introduced=low or "0"), *([Event(fixed=high)] if high else [])]
        spans.append(Range("SEMVER", events))
    # No ecosystem: what these versions say of packages is not written into scanner databases.
    return Affected(Package(name=around.library or None, purl=purl), spans)
