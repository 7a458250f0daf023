"""HTTP: entity tags, conditions, ranges, what caches may do, content codings."""

from __future__ import annotations

import base64
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from backports import zstd

from stellaops.mirrors.checks.concelier import Described
from stellaops.mirrors.checks.ports import Question, Seen
from stellaops.mirrors.checks.visit import Visit

_AGE = re.compile(r"max-age=(\d+)")
_STRONG = re.compile(r'"[^"]+"')
_PART = 5
_SHORT = 8 << 20
_MEDIA = {
    ".json": ("json",),
    ".sig": ("text/plain",),
    ".jws": ("application/jose",),
    ".pub": ("pem", "text/plain"),
}


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths to look at closely, all of them of short files.

    Attributes:
        stable: those whose content changes: indexes and stable names.
        immutable: those under an export's id.
        signatures: beside them.
    """

    stable: Sequence[str]
    immutable: Sequence[str]
    signatures: Sequence[str]


def judge_headers(visit: Visit, paths: Paths) -> None:
    """Judge how answers are described."""
    for path in (*paths.stable, *paths.immutable, *paths.signatures):
        _judge_path(visit, path)
    for path in (*paths.stable, *paths.signatures):
        _judge_age(visit, path, "index-caching", 60)
    for path in paths.immutable:
        _judge_age(visit, path, "immutable-caching", 300, immutable=True)
        _judge_range(visit, path)
        _judge_codings(visit, path, visit.get(path).size)


def judge_large(visit: Visit, path: str, about: Described) -> None:
    """Judge how a bundle is described, which may be too large to be fetched again and again."""
    head, demand = visit.ask(Question(path, method="HEAD")), visit.notes.demand
    told = (head.status, head.header("content-length"))
    demand(
        "head",
        told == (200, str(about.size_bytes)),
        f"{path}: HEAD is answered by {told[0]}, {told[1]} bytes",
    )
    known = visit.get(path, if_none_match=head.header("etag") or '"none"')
    demand(
        "conditional",
        (known.status, known.size) == (304, 0),
        f"{path}: If-None-Match is answered by {known.status}",
    )
    part = visit.get(path, range="bytes=0-1")
    demand("range", (part.status, part.size) == (206, 2), f"{path}: a range is answered by {part.status}")
    _judge_codings(visit, path, about.size_bytes)


def _judge_path(visit: Visit, path: str) -> None:
    seen, demand = visit.get(path), visit.notes.demand
    if seen.status != 200:
        demand("etag", False, f"{path} answers {seen.status}")
        return
    tag = seen.header("etag")
    demand("etag", _STRONG.fullmatch(tag), f"{path}: ETag is {tag[:80] or 'missing'}")
    known = visit.get(path, if_none_match=tag or '"none"')
    text = f"{path}: If-None-Match is answered by {known.status} and {known.size} bytes"
    demand("conditional", (known.status, known.size) == (304, 0), text)
    other = visit.get(path, if_none_match='"another"')
    demand("conditional", other.status == 200, f"{path}: another tag is answered by {other.status}")
    head = visit.ask(Question(path, method="HEAD"))
    same = [
        name for name in ("etag", "content-type", "content-length") if head.header(name) == seen.header(name)
    ]
    demand(
        "head",
        (head.status, head.size, len(same)) == (200, 0, 3),
        f"{path}: HEAD is answered otherwise than GET",
    )
    _judge_description(visit, path, seen)


def _judge_description(visit: Visit, path: str, seen: Seen) -> None:
    demand = visit.notes.demand
    digest = f"sha-256=:{base64.b64encode(bytes.fromhex(seen.sha256)).decode()}:"
    told = seen.header("repr-digest")
    demand("digests", digest in told, f"{path}: Repr-Digest is {'wrong' if told else 'missing'}")
    media = seen.header("content-type").partition(";")[0].strip()
    wanted = next((kinds for ending, kinds in _MEDIA.items() if path.endswith(ending)), ("",))
    demand(
        "content-type",
        any(each in media for each in wanted),
        f"{path}: Content-Type is {media[:80] or 'missing'}",
    )
    nosniff = seen.header("x-content-type-options").lower() == "nosniff"
    demand("content-type", nosniff, f"{path}: X-Content-Type-Options is missing")
    demand("cache-status", seen.header("x-cache-status"), f"{path}: X-Cache-Status is missing")
    vary, cache = seen.header("vary").lower(), seen.header("cache-control").lower()
    if not visit.is_closed(path):
        visit.notes.skip(f"the domain {visit.domain} asks nobody for credentials", "private")
        return
    demand("private", "authorization" in vary, f"{path}: Vary does not name Authorization")
    words = {each.strip().partition("=")[0] for each in cache.split(",")}
    demand(
        "private",
        words & {"private", "public", "no-store"},
        f"{path}: Cache-Control is {cache[:80] or 'missing'}",
    )


def _judge_age(visit: Visit, path: str, name: str, most: int, *, immutable: bool = False) -> None:
    cache = visit.get(path).header("cache-control").lower()
    found = _AGE.search(cache)
    right = found is not None and 0 < int(found[1]) <= most and ("immutable" in cache) == immutable
    visit.notes.demand(name, right, f"{path}: Cache-Control is {cache[:80] or 'missing'}")


def _judge_range(visit: Visit, path: str) -> None:
    whole, demand = visit.get(path), visit.notes.demand
    if whole.status != 200 or whole.size <= 2 * _PART:
        return
    part = visit.get(path, range=f"bytes={_PART}-{2 * _PART - 1}")
    right = part.status == 206 and part.body == whole.body[_PART : 2 * _PART]
    demand("range", right, f"{path}: a range is answered by {part.status} and {part.size} bytes")
    told = part.header("content-range")
    wanted = f"bytes {_PART}-{2 * _PART - 1}/{whole.size}"
    demand("range", told == wanted, f"{path}: Content-Range is {told[:80] or 'missing'}")
    beyond = visit.get(path, range=f"bytes={whole.size + 1}-")
    demand("range", beyond.status == 416, f"{path}: a range beyond the end is answered by {beyond.status}")
    changed = visit.ask(Question(path, headers={"range": "bytes=0-0", "if-range": '"another"'}))
    demand(
        "range", changed.status == 200, f"{path}: If-Range of another version is answered by {changed.status}"
    )


def _judge_codings(visit: Visit, path: str, size: int) -> None:
    """Judge a file in every coding: by headers, and by its content where that is short enough."""
    demand, method = visit.notes.demand, "GET" if size <= _SHORT else "HEAD"
    plain = visit.ask(Question(path, method=method))
    tags = {plain.header("etag")}
    for coding in ("gzip", "zstd"):
        seen = visit.ask(Question(path, method=method, headers={"accept-encoding": coding}))
        if seen.header("content-encoding") != coding:
            continue
        varies = "accept-encoding" in seen.header("vary").lower()
        demand("encodings", varies, f"{path}: Vary does not name Accept-Encoding")
        demand(
            "encodings",
            seen.header("etag") not in tags,
            f"{path}: {coding} has the entity tag of another coding",
        )
        tags.add(seen.header("etag"))
        same = method == "HEAD" or _undone(coding, seen.body, plain.size) == plain.body
        demand("encodings", same, f"{path}: {coding} is another content")
    refused = visit.ask(Question(path, method="HEAD", headers={"accept-encoding": "gzip;q=0, zstd;q=0"}))
    told = refused.header("content-encoding")
    demand("encodings", told in ("", "identity"), f"{path}: {told} is sent to who refuses it")


def _undone(coding: str, data: bytes, most: int) -> bytes | None:
    """A content without its coding; None where it is damaged or longer than it may be."""
    try:
        if coding == "zstd":
            return zstd.ZstdDecompressor().decompress(data, max_length=most + 1)
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return file.read(most + 1)
    except (zstd.ZstdError, OSError, EOFError, zlib.error, ValueError):
        return None
