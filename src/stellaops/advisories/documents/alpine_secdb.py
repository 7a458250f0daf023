"""Security databases of distributions that use apk: `secdb`, in YAML or JSON.

    distroversion: v3.11
    reponame: main
    packages:
      - pkg:
          name: curl
          secfixes:
            7.66.0-r0:
              - CVE-2019-5481

A file lists one repository of one release completely, or of a distribution without releases. A record is a package of
such a repository. Its key names all of it: `v3.11/main/curl`, `wolfi/os/curl`. Its canonical form is the item of
`packages` as JSON, so that the same in YAML and in JSON is one content. A version under `secfixes` is the first that
has the fixes; version 0 says that the package never had the flaw.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from stellaops.advisories.advisory import Advisory, Affected, Event, Package, Range
from stellaops.advisories.canonical import Canonical, Malformed, from_json, from_yaml
from stellaops.advisories.documents.interface import Listing, Slice
from stellaops.advisories.documents.json_cursor import JsonCursor

_JSON = ".json"
_YAML = (".yaml", ".yml")
_MAX_ID = 256
_RELEASE = re.compile(r"v\d{1,3}\.\d{1,3}|edge", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", re.ASCII)
_PLACE = re.compile(r"(?:^|/)(v\d{1,3}\.\d{1,3}|edge)/([a-z]{1,30})\.[a-z]+$", re.ASCII)
_DISTRIBUTIONS = (
    # In the address of its packages; first part of the context; ecosystem.
    ("wolfi.dev", "wolfi", "Wolfi"),
    ("cgr.dev", "chainguard", "Chainguard"),
    ("mini.dev", "minimos", "MinimOS"),
    ("minimus.io", "minimos", "MinimOS"),
)
_ECOSYSTEMS = {word: ecosystem for _, word, ecosystem in _DISTRIBUTIONS}
_HEADER = ("distroversion", "reponame", "urlprefix", "apkurl")
_NULLS = frozenset(("", "~", "null"))
# The dash before an item, from the end of the line above.
_DASH = re.compile(r"\n[ \t]*-\s+$")
_INDENTATION = 200
_CVE = re.compile(r"CVE-\d{4}-\d{4,19}", re.ASCII)
# Another separator after `CVE` leaves no doubt; everything else that is not as it should be stays as it is written.
_SEPARATOR = re.compile(r"\bCVE[_ ](?=\d{4}-\d)", re.ASCII)
_IDENTIFIER = re.compile(r"(?=\S*\d)[A-Za-z][A-Za-z0-9]{0,20}(?:-[A-Za-z0-9.]{1,40}){1,6}", re.ASCII)


class AlpineSecdbFeed:
    """The `alpine-secdb` feed."""

    name = "alpine-secdb"
    publishes_listings = True

    def recognises(self, path: str, content: bytes) -> bool:
        """A mapping with packages and the address of packages, of a distribution that is known."""
        if not self.may_hold_documents(path) or b"packages" not in content or b"reponame" not in content:
            return False
        try:
            _cut(path, content)
        except Malformed:
            return False
        return True

    def listing(self, path: str, content: bytes) -> Listing | None:
        """A file lists a repository of a release completely, and states no date."""
        try:
            return Listing("", f"{_cut(path, content).context}/") if self.may_hold_documents(path) else None
        except Malformed:
            return None

    def may_hold_documents(self, path: str) -> bool:
        """JSON and YAML files that are not hidden."""
        base = path.rpartition("/")[2].lower()
        return base.endswith((_JSON, *_YAML)) and not base.startswith(".")

    def records(self, path: str, content: bytes) -> Iterable[Slice]:
        """The items of `packages`; in YAML as whole lines. The context is `release/repository`."""
        return _cut(path, content).slices

    def canonical(self, path: str, raw: bytes) -> Canonical:
        """The item as RFC 8785 JSON, whether it was cut out of YAML or of JSON."""
        if path.lower().endswith(_JSON):
            return from_json(raw)
        canonical = from_yaml(raw)
        if not (isinstance(canonical.parsed, list) and len(canonical.parsed) == 1):
            return canonical
        body = canonical.body if canonical.verbatim else canonical.body[1:-1]
        return Canonical(body, canonical.verbatim, canonical.parsed[0])

    def read(self, parsed: Any, context: str = "") -> Advisory | None:
        """A package with one part for each cell of its `secfixes`."""
        try:
            package = msgspec.convert(parsed, _Item).pkg
        except msgspec.ValidationError as error:
            raise Malformed("schema", str(error)) from error
        key = f"{context}/{package.name}"
        if not (package.name.strip() and context and key.isprintable() and len(key) <= _MAX_ID):
            raise Malformed("no-id", f"{key[:80]!r} names no package of a repository")
        release = context.partition("/")[0]
        named = Package(_ECOSYSTEMS.get(release, f"Alpine:{release}"), package.name)
        fixes: dict[tuple[str, ...], list[str]] = {}
        for version, ids in package.fixes():
            fixes.setdefault(ids, []).append(version)
        return Advisory(id=key, parts=[_part(named, ids, versions) for ids, versions in fixes.items()])


class _Package(Struct, frozen=True):
    name: str
    secfixes: dict[str, list[str | None] | str | None] | list[Any] | None = None

    def fixes(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Versions with the ids of one cell, in one order whatever the writer's."""
        # An empty mapping is an empty list in some writers' JSON.
        listed = self.secfixes if isinstance(self.secfixes, dict) else {}
        for version, cells in sorted(listed.items()):
            if version.strip() == "0":
                continue
            for cell in [cells] if isinstance(cells, str) else cells or ():
                ids = _ids(cell or "")
                if ids:
                    yield version.strip(), ids


class _Item(Struct, frozen=True):
    pkg: _Package


def _ids(cell: str) -> tuple[str, ...]:
    """The ids in a cell such as `CVE-2018-3620 CVE-2018-3646 XSA-273` or `CVE-2017-2616 (+ regression fix)`."""
    words = _SEPARATOR.sub("CVE-", cell.partition("(")[0]).split()
    ids = [word for word in dict.fromkeys(words) if _IDENTIFIER.fullmatch(word)]
    return tuple(sorted(ids, key=lambda name: _CVE.fullmatch(name) is None))


def _part(package: Package, ids: tuple[str, ...], versions: list[str]) -> Advisory:
    ranges = [Range("ECOSYSTEM", [Event(introduced="0"), Event(fixed=version)]) for version in versions]
    return Advisory(id=ids[0], aliases=list(ids[1:]) or None, affected=[Affected(package, ranges)])


@dataclass(slots=True)
class _File:
    """A file, cut up."""

    context: str
    slices: list[Slice] = field(default_factory=list)


def _cut(path: str, content: bytes) -> _File:
    cut = _cut_json if path.lower().endswith(_JSON) else _cut_yaml
    header, spans = cut(content)
    file = _File(_context(path, header))
    file.slices = [Slice(offset, raw, file.context) for offset, raw in spans]
    return file


def _context(path: str, header: dict[str, str]) -> str:
    """`v3.11/main`, from the file's own words, else from where it lies; `wolfi/os` where there are no releases."""
    address = f"{header.get('urlprefix', '')} {header.get('apkurl', '')}"
    place = _PLACE.search(path)
    release, repository = header.get("distroversion", ""), header.get("reponame", "")
    if not release:
        release = next((word for mark, word, _ in _DISTRIBUTIONS if mark in address), "")
        release = release or (place[1] if place else "")
    elif not _RELEASE.fullmatch(release):
        release = ""
    repository = repository or (place[2] if place else "")
    if not (release and _WORD.fullmatch(repository)):
        raise Malformed(
            "no-release", "the file names no release and repository of a distribution that is known"
        )
    return f"{release}/{repository}"


def _cut_json(content: bytes) -> tuple[dict[str, str], list[tuple[int, bytes]]]:
    cursor = JsonCursor(content)
    header: dict[str, str] = {}
    places: list[tuple[int, int]] | None = None
    for key in cursor.keys():  # noqa: SIM118 - a cursor is no mapping
        if key == "packages" and cursor.at("["):
            places = []
            for _ in cursor.items():
                begin = cursor.place
                cursor.value()
                places.append((begin, cursor.place))
            continue
        value = cursor.value()
        if key == "packages" and value is None:
            places = []
        elif key in _HEADER and isinstance(value, str):
            header[key] = value
    cursor.end()
    if places is None:
        raise Malformed("schema", "no list of packages")
    return header, [cursor.slice(begin, end) for begin, end in places]


def _cut_yaml(content: bytes) -> tuple[dict[str, str], list[tuple[int, bytes]]]:
    try:
        text = content.decode("utf-8")
        header, places = _walk(text)
    except UnicodeDecodeError as error:
        raise Malformed("not-utf-8", str(error)) from error
    except yaml.YAMLError as error:
        raise Malformed("not-yaml", " ".join(str(error).split())[:300]) from error
    if places is None:
        raise Malformed("schema", "no list of packages")
    spans = []
    position = offset = 0
    for begin, end in places:
        raw = text[begin:end].rstrip()
        offset += len(text[position:begin].encode())
        position = begin
        spans.append((offset, raw.encode()))
    return header, spans


def _walk(text: str) -> tuple[dict[str, str], list[tuple[int, int]] | None]:
    """The scalars at the top, and where each item of `packages` begins and ends; None where there is no such list."""
    events = yaml.parse(text, Loader=yaml.CBaseLoader)
    header: dict[str, str] = {}
    places: list[tuple[int, int]] | None = None
    if not isinstance(_root(events), yaml.MappingStartEvent):
        return header, None
    for key in events:
        if isinstance(key, yaml.MappingEndEvent):
            break
        name = key.value if isinstance(key, yaml.ScalarEvent) else ""
        _last_of(key, events)
        value = next(events)
        if name == "packages" and isinstance(value, yaml.SequenceStartEvent):
            places = _items(text, events)
            continue
        if name == "packages" and isinstance(value, yaml.ScalarEvent) and value.value in _NULLS:
            places = []
        elif name in _HEADER and isinstance(value, yaml.ScalarEvent):
            header[name] = value.value
        _last_of(value, events)
    if not isinstance(next(events), yaml.DocumentEndEvent) or not isinstance(
        next(events), yaml.StreamEndEvent
    ):
        raise Malformed("several-documents", "a file must hold one YAML document")
    return header, places


def _root(events: Iterator[Any]) -> Any:
    """The first event of the first document's content."""
    return next((event for event in events if isinstance(event, yaml.NodeEvent)), None)


def _last_of(event: Any, events: Iterator[Any]) -> Any:
    """The last event of the node that an event begins."""
    depth = 0
    while True:
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth == 0:
            return event
        event = next(events)


def _items(text: str, events: Iterator[Any]) -> list[tuple[int, int]]:
    """Where the items of a sequence begin and end: whole lines with their dashes, in flow style the item alone."""
    places: list[tuple[int, int]] = []
    end = len(text)
    for event in events:
        if isinstance(event, yaml.SequenceEndEvent):
            mark: Any = event.start_mark
            end = mark.index
            break
        start = event.start_mark.index
        last = _last_of(event, events)
        dash = _DASH.search(text, max(0, start - _INDENTATION), start)
        places.append((dash.start() + 1, -1) if dash else (start, last.end_mark.index))
    begins = [begin for begin, _ in places[1:]] + [end]
    return [(begin, upto if stop < 0 else stop) for (begin, stop), upto in zip(places, begins, strict=True)]
