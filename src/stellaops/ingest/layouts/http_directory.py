"""A directory on a web server: index pages (HTML or JSON, as nginx and Apache write them) or a listing file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import msgspec

from stellaops.ingest.layouts.interface import (
    Answer,
    Ask,
    BadDefinition,
    ListingUnusable,
    PlainLayout,
    Plan,
    Planning,
    Situation,
    Want,
    check_options,
)
from stellaops.ingest.pull_model import Definition

_MAX_FOLDERS = 20_000
_MAX_DEPTH = 12


class HttpDirectory(PlainLayout):
    """A directory with an index."""

    name = "http-directory"
    options = {  # noqa: RUF012 - a constant of the class
        "listing": "a file below the URL that names one path a line (such as `index.txt`), instead of index pages",
        "suffixes": "how the names of the wanted files end; all when left out",
        "prefixes": "how the names of the wanted files begin; all when left out",
    }

    def check(self, definition: Definition) -> None:
        """See the interface."""
        check_options(self, definition)
        if not definition.url.endswith("/"):
            raise BadDefinition(
                f"source {definition.name!r}: the URL of a directory ends with a slash: {definition.url}/"
            )

    def keeps(self, definition: Definition, path: str) -> bool:
        """See the interface."""
        suffixes = definition.options.get("suffixes", ())
        ends = tuple([suffixes] if isinstance(suffixes, str) else suffixes)
        return super().keeps(definition, path) and (not ends or path.endswith(ends))

    def plan(self, situation: Situation) -> Planning:
        """See the interface."""
        definition = situation.definition
        listing = definition.options.get("listing")
        if listing:
            answer = yield Ask(urljoin(definition.url, str(listing)))
            found = dict.fromkeys(_listed_paths(answer), "")
        else:
            found = yield from _walk(definition.url)
        wanted = {path: mark for path, mark in found.items() if self.keeps(definition, path)}
        if not wanted:
            raise ListingUnusable(f"{definition.url} lists no file of source {definition.name!r}")
        return changed_files(situation, wanted)


def changed_files(situation: Situation, listed: dict[str, str]) -> Plan:
    """The plan for files listed below the definition's URL with their marks.

    An incremental pull takes those whose mark is not the known one, and asks for those without a mark
    conditionally; a full one takes all.
    """
    base = situation.definition.url
    full = situation.full or not situation.known
    wants = tuple(
        Want(urljoin(base, quote(path)), path, mark=mark)
        for path, mark in sorted(listed.items())
        if full or not mark or path not in situation.known or situation.known[path].mark != mark
    )
    return Plan(
        wants,
        full=full,
        complete=full,
        listed=len(listed),
        gone=sum(path not in listed for path in situation.known),
    )


def _walk(root: str) -> Any:
    found: dict[str, str] = {}
    pending = [""]
    seen = {""}
    while pending:
        folder = pending.pop()
        answer = yield Ask(urljoin(root, quote(folder)))
        for name, mark in _index(answer):
            path = folder + name
            if not name.endswith("/"):
                found[path] = mark
            elif path not in seen and path.count("/") <= _MAX_DEPTH:
                seen.add(path)
                pending.append(path)
        if len(seen) > _MAX_FOLDERS:
            raise ListingUnusable(f"{root} has more than {_MAX_FOLDERS} folders")
    return found


def _listed_paths(answer: Answer) -> Iterator[str]:
    if not answer.content.endswith(b"\n"):
        raise ListingUnusable(f"{answer.url} is cut off in the middle of a line")
    for line in answer.content.decode("utf-8", "replace").splitlines():
        path = line.strip().removeprefix("./")
        if path and not path.startswith("#"):
            if not _is_inside(path):
                raise ListingUnusable(f"{answer.url} names {path[:100]!r}, which is not below it")
            yield path


def _is_inside(path: str) -> bool:
    return not (path.startswith("/") or "://" in path or "\\" in path or ".." in path.split("/"))


def _index(answer: Answer) -> Iterator[tuple[str, str]]:
    """Names (folders with a slash) and marks of one index page."""
    if answer.content.lstrip()[:1] == b"[":
        yield from _json_index(answer)
        return
    page = _Page()
    page.feed(answer.content.decode("utf-8", "replace"))
    page.close()
    if not page.ended:
        raise ListingUnusable(f"{answer.url} is cut off, or no index page")
    base = urlsplit(answer.url)
    for href, after in page.links:
        whole = urlsplit(urljoin(answer.url, href))
        if whole.netloc != base.netloc or whole.query or not whole.path.startswith(base.path):
            continue
        name = unquote(whole.path[len(base.path) :])
        if name and "/" not in name[:-1] and _is_inside(name):
            yield name, after


class _Page(HTMLParser):
    """Links of an index page with the text that follows them: date and size, which tell whether a file changed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.ended = False
        self._text = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A link begins; what stood since the last one belongs to that."""
        if tag == "a":
            self._settle()
            href = dict(attrs).get("href")
            if href:
                self.links.append((href, ""))
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        """The end of a link, or of the page."""
        if tag == "a":
            self._inside = False
        if tag == "html":
            self._settle()
            self.ended = True

    def handle_data(self, data: str) -> None:
        """Text beside the links."""
        if not self._inside:
            self._text += data

    def _settle(self) -> None:
        stamp = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d|\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d", self._text)
        if self.links and stamp:
            self.links[-1] = (self.links[-1][0], " ".join(self._text[stamp.start() :].split()))
        self._text = ""


def _json_index(answer: Answer) -> Iterator[tuple[str, str]]:
    try:
        entries = msgspec.json.decode(answer.content, type=list[dict[str, Any]])
    except msgspec.DecodeError as error:
        raise ListingUnusable(f"{answer.url} is no JSON index: {error}") from error
    for entry in entries:
        name = entry.get("name")
        if not isinstance(name, str) or not _is_inside(name) or "/" in name or not name:
            continue
        folder = entry.get("type") == "directory"
        yield (
            (f"{name}/", "")
            if folder
            else (name, f"{entry.get('mtime', '')} {entry.get('size', '')}".strip())
        )
