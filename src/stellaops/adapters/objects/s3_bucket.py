"""Files in an S3 bucket: whole or in parts, going on where an earlier attempt ended, and back again.

Each object carries the SHA-256 of its content as metadata (`x-amz-meta-sha256`), so that what is there already is told
from a look at it. A large file goes in parts; those that an attempt brought before it broke off are not sent again.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

from stellaops.adapters.objects.s3_client import Reply, S3Client, S3Failed
from stellaops.advisories.xml_tree import Element
from stellaops.kit.disk import disk_errors

PART = 16 << 20
_MOST_PARTS = 10_000
_AT_ONCE = 4
_PIECE = 1 << 20
_DIGEST = "x-amz-meta-sha256"
_DAMAGED_TRIES = 3

_T = TypeVar("_T")

Sent = Callable[[int], None]
"""Is told of bytes that have arrived, from the thread that called."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object: its size in bytes, entity tag, and the SHA-256 that it was sent with; empty where it has none."""

    bytes: int
    etag: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to bring or to get: `key` below the bucket's prefix, lower-case hexadecimal SHA-256, size."""

    key: str
    file: Path
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class _Part:
    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A part as the server has it. `checksum` is base64 of its SHA-256, empty where the server does not tell it."""

    bytes: int
    etag: str
    checksum: str


class S3Bucket:
    """Objects below a prefix.

    Args:
        locks: header fields that lock what is sent, asked for each object.
        at_once: requests.
    """

    def __init__(
        self,
        client: S3Client,
        *,
        locks: Callable[[], Mapping[str, str]] = dict,
        at_once: int = _AT_ONCE,
    ) -> None:
        self._client, self._locks, self._at_once = client, locks, at_once
        self._prefix = client.place.prefix

    def listed(self, prefix: str) -> dict[str, Stored]:
        """Every object whose key begins so, by key."""
        found: dict[str, Stored] = {}
        query = {"list-type": "2", "prefix": self._prefix + prefix}
        while True:
            root = self._client.request("GET", query=query).xml()
            for each in root.all("Contents"):
                key = each.told("Key").removeprefix(self._prefix)
                found[key] = Stored(int(each.told("Size") or 0), each.told("ETag"))
            if root.told("IsTruncated") != "true":
                return found
            query["continuation-token"] = root.told("NextContinuationToken")

    def stat(self, key: str) -> Stored | None:
        """One object; None where there is none."""
        reply = self._client.request("HEAD", self._prefix + key, allowed=(404,))
        if reply.status == 404:
            return None
        return Stored(
            int(reply.headers.get("content-length", "0")), reply.etag, reply.headers.get(_DIGEST, "")
        )

    def read(self, key: str) -> tuple[bytes, str] | None:
        """A small object and its entity tag; None where there is none."""
        reply = self._client.request("GET", self._prefix + key, allowed=(404,))
        return None if reply.status == 404 else (reply.body, reply.etag)

    def write(self, key: str, content: bytes, *, over: str | None = None) -> bool:
        """Write a small object, if it is as the caller believes.

        Args:
            over: the entity tag of what is there; None for nothing.

        Returns:
            False where it is not so.
        """
        condition = {"if-none-match": "*"} if over is None else {"if-match": over}
        headers = {"content-type": _media(key), "cache-control": "no-cache", **condition}
        reply = self._client.request(
            "PUT", self._prefix + key, headers=headers, body=content, allowed=(409, 412)
        )
        return reply.status not in (409, 412)

    def put(self, key: str, content: bytes) -> None:
        """Write a small object, whatever is there."""
        self._client.request("PUT", self._prefix + key, headers={"content-type": _media(key)}, body=content)

    def send(self, files: Iterable[Wanted], sent: Sent) -> None:
        """Bring files; several at once, large ones in parts."""
        large: list[Wanted] = []
        with _Pool[int](self._at_once) as pool:
            for wanted in files:
                if wanted.bytes > PART:
                    large.append(wanted)
                else:
                    pool.submit(self._send_whole, wanted)
            for size in pool.results():
                sent(size)
        for wanted in large:
            self._send_parts(wanted, sent)

    def fetch(self, files: Iterable[Wanted]) -> Iterator[Wanted]:
        """Get files, each into a new file of its name; those that came other than they should be are given back."""
        large: list[Wanted] = []
        with _Pool[Wanted | None](self._at_once) as pool:
            for wanted in files:
                if wanted.bytes > PART:
                    large.append(wanted)
                else:
                    pool.submit(self._fetch_whole, wanted)
            yield from filter(None, pool.results())
        for wanted in large:
            if self._fetch_parts(wanted) is not None:
                yield wanted

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there are no error."""
        with _Pool[Reply](self._at_once) as pool:
            for key in keys:
                pool.submit(self._client.request, "DELETE", self._prefix + key, allowed=(404,))
            for _ in pool.results():
                pass

    # ---- files of one request

    def _send_whole(self, wanted: Wanted) -> int:
        headers = {"content-type": _media(wanted.key), _DIGEST: wanted.sha256, **self._locks()}
        self._client.request(
            "PUT", self._prefix + wanted.key, headers=headers, body=_slice(wanted.file, 0, None)
        )
        return wanted.bytes

    def _fetch_whole(self, wanted: Wanted) -> Wanted | None:
        """The file where it did not come as it should be."""
        for _ in range(_DAMAGED_TRIES):
            reply = self._client.request("GET", self._prefix + wanted.key, allowed=(404,))
            if reply.status == 404:
                return wanted
            if hashlib.sha256(reply.body).hexdigest() == wanted.sha256:
                with disk_errors(wanted.file.parent):
                    wanted.file.write_bytes(reply.body)
                return None
        return wanted

    # ---- files of several

    def _send_parts(self, wanted: Wanted, sent: Sent) -> None:
        upload = next(iter(self._uploads(wanted.key)), None)
        there = {} if upload is None else self._arrived(wanted.key, upload)
        if upload is None:
            headers = {
                "content-type": _media(wanted.key), "x-amz-checksum-algorithm": "SHA256", _DIGEST: wanted.sha256,
                **self._locks(),
            }  # fmt: skip
            reply = self._client.request(
                "POST", self._prefix + wanted.key, query={"uploads": ""}, headers=headers
            )
            upload = reply.xml().told("UploadId")
        done: dict[int, _Arrived] = {}
        with _Pool[tuple[int, _Arrived, int]](self._at_once) as pool:
            for part in _parts(wanted.bytes):
                pool.submit(self._send_part, wanted, upload, part, there.get(part.number))
            for number, arrived, size in pool.results():
                done[number] = arrived
                if size:
                    sent(size)
        self._complete(wanted, upload, done)
        for other in self._uploads(
            wanted.key
        ):  # such as one whose beginning was told in an answer that was lost
            query = {"uploadId": other}
            self._client.request("DELETE", self._prefix + wanted.key, query=query, allowed=(404,))

    def _send_part(
        self, wanted: Wanted, upload: str, part: _Part, there: _Arrived | None
    ) -> tuple[int, _Arrived, int]:
        """The part's number, how it arrived, and the bytes that were sent for it."""
        body = _slice(wanted.file, part.start, part.end)
        digest = hashlib.sha256(body).digest()
        checksum = base64.b64encode(digest).decode()
        if there is not None and _same(body, checksum, there):
            return part.number, _Arrived(len(body), there.etag, checksum), 0
        query = {"partNumber": str(part.number), "uploadId": upload}
        reply = self._client.request("PUT", self._prefix + wanted.key, query=query, body=body, digest=digest)
        return part.number, _Arrived(len(body), reply.etag, checksum), len(body)

    def _complete(self, wanted: Wanted, upload: str, done: Mapping[int, _Arrived]) -> None:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{each.etag}</ETag>"
            f"<ChecksumSHA256>{each.checksum}</ChecksumSHA256></Part>"
            for number, each in sorted(done.items())
        )
        body = f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{parts}</CompleteMultipartUpload>'.encode()
        reply = self._client.request(
            "POST", self._prefix + wanted.key, query={"uploadId": upload}, body=body, allowed=(404,)
        )
        told = reply.xml() if reply.body else None
        if reply.status == 404 or (told is not None and told.name == "Error"):
            # An answer that was lost on its way: then the upload is over, and the object is there.
            found = self.stat(wanted.key)
            if found is None or (found.sha256, found.bytes) != (wanted.sha256, wanted.bytes):
                code = told.told("Code") if told is not None else "NoSuchUpload"
                raise S3Failed(f"{wanted.key}: the upload was not completed: {code}", 503, code)

    def _uploads(self, key: str) -> list[str]:
        """The uploads of a key that were not completed."""
        query = {"uploads": "", "prefix": self._prefix + key}
        reply = self._client.request("GET", query=query, allowed=(404, 501))  # some servers do not tell
        if reply.status != 200:
            return []
        return [
            each.told("UploadId")
            for each in reply.xml().all("Upload")
            if each.told("Key") == self._prefix + key
        ]

    def _arrived(self, key: str, upload: str) -> dict[int, _Arrived]:
        found: dict[int, _Arrived] = {}
        query = {"uploadId": upload}
        while True:
            reply = self._client.request("GET", self._prefix + key, query=query, allowed=(404,))
            if reply.status == 404:
                return {}
            root = reply.xml()
            found |= dict(_arrived(each) for each in root.all("Part"))
            if root.told("IsTruncated") != "true":
                return found
            query["part-number-marker"] = root.told("NextPartNumberMarker")

    def _fetch_parts(self, wanted: Wanted) -> Wanted | None:
        """The file where it did not come as it should be."""
        with ExitStack() as stack:
            stack.enter_context(disk_errors(wanted.file.parent))
            out = os.open(wanted.file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            stack.callback(os.close, out)
            for _ in range(_DAMAGED_TRIES):
                found = self.stat(wanted.key)
                if found is None or found.bytes != wanted.bytes:
                    return wanted
                digest = _DigestBehind(out)
                with _Pool[_Part](self._at_once) as pool:
                    for part in _parts(wanted.bytes, _largest_fetched(wanted.bytes, self._at_once)):
                        pool.submit(self._fetch_part, wanted, part, out, found.etag)
                    for part in pool.results():
                        digest.came(part)
                if digest.hexdigest() == wanted.sha256:
                    return None
        return wanted

    def _fetch_part(self, wanted: Wanted, part: _Part, out: int, etag: str) -> _Part:
        place, tries = part.start, 0
        while place < part.end:
            headers = {"range": f"bytes={place}-{part.end - 1}", "if-match": etag}
            began = place
            try:
                with self._client.open(self._prefix + wanted.key, headers) as response:
                    for piece in self._client.pieces(response, wanted.key, _PIECE):
                        place += os.pwrite(out, piece[: part.end - place], place)
            except S3Failed as failure:
                tries = tries + 1 if place == began else 0
                if not failure.passing or tries > _DAMAGED_TRIES:
                    raise
            else:
                if place == began:
                    raise S3Failed(f"{wanted.key}: the answer is shorter than the file", 0, "Cut")
        return part


_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class _Pool(Generic[_T]):
    """Work in threads; what it gives comes in the caller's thread, and the first failure ends all."""

    def __init__(self, at_once: int) -> None:
        self._pool = ThreadPoolExecutor(at_once)
        self._futures: list[Future[_T]] = []

    def __enter__(self) -> Self:
        return self

    def submit(self, work: Callable[..., _T], *values: object, **more: object) -> None:
        """Have it done."""
        self._futures.append(self._pool.submit(work, *values, **more))

    def results(self) -> Iterator[_T]:
        """What each gave, as they end."""
        for future in as_completed(self._futures):
            yield future.result()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _largest_fetched(size: int, at_once: int) -> int:
    """Bytes of the parts that a file is got in: few requests, and work for every connection."""
    return min(max(PART, -(-size // at_once)), 4 * PART)


def _parts(size: int, largest: int = 0) -> Iterator[_Part]:
    each = max(largest or PART, -(-size // _MOST_PARTS))
    for number, start in enumerate(range(0, size, each), 1):
        yield _Part(number, start, min(start + each, size))


def _slice(file: Path, start: int, end: int | None) -> bytes:
    with disk_errors(file), file.open("rb") as content:
        content.seek(start)
        return content.read() if end is None else content.read(end - start)


def _same(body: bytes, checksum: str, there: _Arrived) -> bool:
    """Whether a part that arrived is this one: by its checksum, else by its entity tag, which is its MD5."""
    if there.bytes != len(body):
        return False
    if there.checksum:
        return there.checksum == checksum
    return there.etag.strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest()


def _arrived(part: Element) -> tuple[int, _Arrived]:
    told = _Arrived(int(part.told("Size") or 0), part.told("ETag"), part.told("ChecksumSHA256"))
    return int(part.told("PartNumber") or 0), told


class _DigestBehind:
    """The digest of a file whose parts come in any order, worked out while others are still under way."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._hasher, self._place = descriptor, hashlib.sha256(), 0
        self._waiting: dict[int, int] = {}

    def came(self, part: _Part) -> None:
        """A part is in the file."""
        self._waiting[part.start] = part.end
        while (end := self._waiting.pop(self._place, None)) is not None:
            while self._place < end:
                piece = os.pread(self._descriptor, min(_PIECE, end - self._place), self._place)
                self._hasher.update(piece)
                self._place += len(piece)

    def hexdigest(self) -> str:
        """Of the parts that came without a gap."""
        return self._hasher.hexdigest()


_MEDIA = {
    "zst": "application/zstd", "bundle": "application/gzip", "md": "text/markdown; charset=utf-8",
    "yaml": "application/yaml", "sig": "text/plain; charset=utf-8", "jws": "application/jose",
}  # fmt: skip


def _media(key: str) -> str:
    return _MEDIA.get(key.rpartition(".")[2]) or mimetypes.guess_type(key)[0] or "application/octet-stream"
