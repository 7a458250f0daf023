"""A bucket with an S3 interface: listed by ListObjectsV2, changes told by ETag and size.

The URL names end point, bucket and prefix: `https://s3.example.org/bucket/prefix/`. Buckets that need no credentials
are read without.
"""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import quote, unquote, urlencode, urlsplit
from xml.parsers import expat

from msgspec import Struct

from stellaops.ingest.layouts.http_directory import changed_files
from stellaops.ingest.layouts.interface import (
    Answer,
    Ask,
    BadDefinition,
    ListingUnusable,
    PlainLayout,
    Planning,
    Situation,
    check_options,
)
from stellaops.ingest.pull_model import Definition

_MAX_OBJECTS = 5_000_000


class S3(PlainLayout):
    """A bucket and a prefix."""

    name = "s3"
    options = {  # noqa: RUF012 - a constant of the class
        "suffixes": "how the names of the wanted objects end; all when left out",
        "prefixes": "how the names of the wanted objects begin, below the URL; all when left out",
    }

    def check(self, definition: Definition) -> None:
        """See the interface."""
        check_options(self, definition)
        bucket, slash, prefix = urlsplit(definition.url).path.lstrip("/").partition("/")
        if not bucket or not slash or (prefix and not prefix.endswith("/")):
            raise BadDefinition(
                f"source {definition.name!r}: the URL needs a bucket, and a prefix that ends with a slash:"
                " https://HOST/BUCKET/ or https://HOST/BUCKET/PREFIX/"
            )

    def keeps(self, definition: Definition, path: str) -> bool:
        """See the interface."""
        suffixes = definition.options.get("suffixes", ())
        ends = tuple([suffixes] if isinstance(suffixes, str) else suffixes)
        return super().keeps(definition, path) and (not ends or path.endswith(ends))

    def plan(self, situation: Situation) -> Planning:
        """See the interface."""
        parts = urlsplit(situation.definition.url)
        bucket, _, prefix = parts.path.lstrip("/").partition("/")
        prefix = unquote(prefix)
        listed: dict[str, str] = {}
        token = ""
        while True:
            query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
            if token:
                query["continuation-token"] = token
            text = urlencode(sorted(query.items()), quote_via=quote)
            page = _page((yield Ask(f"{parts.scheme}://{parts.netloc}/{bucket}/?{text}")))
            for key, mark in page.objects:
                path = key.removeprefix(prefix)
                inside = path and not path.endswith("/") and not {"..", "."}.intersection(path.split("/"))
                if key.startswith(prefix) and inside and self.keeps(situation.definition, path):
                    listed[path] = mark
            if not page.token:
                break
            if page.token == token or len(listed) > _MAX_OBJECTS:
                raise ListingUnusable(f"{situation.definition.url}: the listing has no end")
            token = page.token
        if not listed:
            raise ListingUnusable(f"{situation.definition.url} lists no object of the source")
        return changed_files(situation, listed)


class _Listing(Struct):
    """One page: keys with ETag and size, and the token of the next page; empty on the last."""

    objects: list[tuple[str, str]] = []
    token: str = ""


class _Reader:
    """Reads a ListBucketResult; documents that declare entities are refused."""

    def __init__(self, url: str) -> None:
        self.found = _Listing()
        self.truncated = False
        self.is_listing = False
        self._url = url
        self._text: list[str] = []
        self._entry: dict[str, str] = {}

    def read(self, content: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.EntityDeclHandler = self._refuse
        try:
            parser.Parse(content, True)
        except expat.ExpatError as error:
            raise ListingUnusable(f"{self._url} is cut off, or no bucket listing: {error}") from error

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        self._text.clear()
        if name == "ListBucketResult":
            self.is_listing = True
        if name == "Contents":
            self._entry = {}

    def _end(self, name: str) -> None:
        text = "".join(self._text)
        self._text.clear()
        if name in ("Key", "ETag", "Size"):
            self._entry[name] = text
        elif name == "Contents" and self._entry.get("Key"):
            mark = f"{self._entry.get('ETag', '').strip(chr(34))} {self._entry.get('Size', '')}".strip()
            self.found.objects.append((unquote(self._entry["Key"]), mark))
        elif name == "NextContinuationToken":
            self.found.token = text
        elif name == "IsTruncated":
            self.truncated = text.strip().lower() == "true"

    def _refuse(self, *_declaration: object) -> NoReturn:
        raise ListingUnusable(f"{self._url} declares entities, which no bucket listing does")


def _page(answer: Answer) -> _Listing:
    reader = _Reader(answer.url)
    reader.read(answer.content)
    if not reader.is_listing or (reader.truncated and not reader.found.token):
        raise ListingUnusable(f"{answer.url} is no whole bucket listing")
    if not reader.truncated:
        reader.found.token = ""
    return reader.found
