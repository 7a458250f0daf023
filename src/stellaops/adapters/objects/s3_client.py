"""Signed requests to an S3 bucket: the one way in which bundles go to object stores of others.

They take the way of all that is fetched: the egress policy looks at the address that is connected to, proxies and
certificates are those of the settings. Every request carries the SHA-256 of its body, by which the server checks what
arrives. A request that met a passing fault is sent again a few times; where the server says when, then.
"""

from __future__ import annotations

import base64
import hashlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError, SSLError

from stellaops.adapters.web.client import USER_AGENT, Ways, WebSettings, tls_context
from stellaops.adapters.web.egress import in_words
from stellaops.adapters.web.sigv4 import AccessKey, signed_headers, signed_url
from stellaops.advisories.canonical import Malformed
from stellaops.advisories.xml_tree import Element, tree
from stellaops.core.egress import redacted
from stellaops.core.errors import InvalidInput

_SEND_PIECE = 256 << 10  # a piece has to be taken within the timeout, so that slow lines are no failures
_LARGEST_ANSWER = 16 << 20
_PAUSES = (0.3, 1.0, 3.0)
_LONGEST_WAIT = 10.0
"""Seconds that one request waits because a server asks for it; longer waits are for whoever asked for all this."""
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_SLOWEST = 4 << 10
"""Bytes a second; an answer that comes more slowly is given up after a while."""


class BadBucket(InvalidInput):
    """The address of a bucket cannot be used."""

    code = "ERR_OBJECT_STORE_ADDRESS"
    hint = "Write the bucket as `s3://BUCKET/PREFIX`, and its endpoint as `https://HOST`."


class S3Failed(Exception):
    """The server said no, or nothing.

    Attributes:
        status: of the answer; 0 where there was none.
        code: the server's word for it, such as `AccessDenied`; `Tls` and `Connection` where there was no answer.
        retry_after: seconds that the server asks to wait.
    """

    def __init__(self, what: str, status: int = 0, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(what)
        self.what, self.status, self.code, self.retry_after = what, status, code, retry_after

    @property
    def passing(self) -> bool:
        """Whether the same request may work in a moment."""
        if self.status == 0:
            return self.code != "Tls"
        return self.status in _PASSING or self.code in _DAMAGED


_DAMAGED = frozenset(
    ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody", "InvalidDigest",
     "MalformedXML", "RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict")
)  # fmt: skip
"""What a server says of bytes that changed on the way, and of moments that pass."""


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """Where a bucket is.

    Attributes:
        prefix: what all keys begin with; empty, or with a slash at its end.
        base: URL of the bucket, without a slash at its end.
    """

    bucket: str
    prefix: str
    base: str
    region: str

    @property
    def address(self) -> str:
        """`s3://BUCKET/PREFIX`, without a slash at its end."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @classmethod
    def of(cls, address: str, endpoint: str | None, region: str) -> BucketPlace:
        """From `s3://BUCKET/PREFIX` and the URL of a server that is not AWS's own.

        Raises:
            BadBucket: see there.
        """
        parts = urlsplit(address)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
            raise BadBucket(f"{redacted(address)!r} is no address of a bucket")
        if any(part in ("", ".", "..") for part in parts.path.strip("/").split("/") if parts.path.strip("/")):
            raise BadBucket(f"{address!r}: a part of the prefix is empty or made of dots")
        prefix = f"{parts.path.strip('/')}/" if parts.path.strip("/") else ""
        return cls(parts.netloc, prefix, _base(parts.netloc, endpoint, region), region)


def _base(bucket: str, endpoint: str | None, region: str) -> str:
    if endpoint is not None:
        there = urlsplit(endpoint)
        if there.scheme not in ("http", "https") or not there.hostname or there.query or there.username:
            raise BadBucket(f"{redacted(endpoint)!r} is no endpoint")
        return f"{endpoint.rstrip('/')}/{bucket}"
    if "." in bucket:  # its name below the server's is not in the server's certificate
        return f"https://s3.{region}.amazonaws.com/{bucket}"
    return f"https://{bucket}.s3.{region}.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, its body read; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def etag(self) -> str:
        """The entity tag with its quotes."""
        return self.headers.get("etag", "")

    def xml(self) -> Element:
        """The body as elements.

        Raises:
            S3Failed: it is no XML.
        """
        try:
            return tree(self.body)
        except Malformed as error:
            raise S3Failed(f"the answer is no XML: {error}", self.status, "BadAnswer") from error


class S3Client:
    """Requests to one bucket. Safe for threads.

    Args:
        key: asked once a request, so that a key that was rotated is used at once.
        ca_file: certificates to trust beside those of the settings.
        connections: at once.
    """

    def __init__(
        self,
        place: BucketPlace,
        key: Callable[[], AccessKey],
        web: WebSettings,
        now: Callable[[], datetime],
        *,
        ca_file: Path | None = None,
        connections: int = 8,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.place = place
        self._key, self._web, self._now, self._sleep = key, web, now, sleep
        tls = tls_context(*(file for file in (web.ca_file, ca_file) if file is not None))
        options: dict[str, Any] = {"maxsize": connections, "num_pools": 4, "retries": False, "block": True}
        self._ways = Ways(web, tls, options)

    def request(
        self,
        method: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview = b"",
        digest: bytes | None = None,
        allowed: tuple[int, ...] = (),
    ) -> Reply:
        """Ask, again after passing faults, and read the answer.

        Args:
            key: of the object, the prefix in it; empty for the bucket.
            digest: SHA-256 of the body, where the caller knows it.
            allowed: statuses that are no failures although they are not 2xx.

        Raises:
            S3Failed: with the server's last word.
        """
        digest = hashlib.sha256(body).digest() if digest is None else digest
        sent = dict(headers or {})
        if method == "PUT" and len(body):  # of a POST it would be that of the object
            sent["x-amz-checksum-sha256"] = base64.b64encode(digest).decode()
        url = self.url(key, query)
        for pause in (*_PAUSES, None):
            try:
                with self._opened(method, url, sent, body, digest.hex()) as response:
                    reply = self._read(response, method, url)
                if reply.status in allowed or 200 <= reply.status < 300:
                    return reply
                raise _refusal(method, url, reply)
            except S3Failed as failure:
                if pause is None or not failure.passing:
                    raise
                wait = failure.retry_after
                if wait is not None and wait > _LONGEST_WAIT:
                    raise
                self._sleep(pause * random.uniform(0.7, 1.3) if wait is None else wait)  # noqa: S311
        raise AssertionError  # the last pause is None

    @contextmanager
    def open(self, key: str, headers: Mapping[str, str] | None = None) -> Iterator[BaseHTTPResponse]:
        """Open an object to read its body with `pieces`.

        Raises:
            S3Failed: see there; also 404.
        """
        url = self.url(key)
        with self._opened("GET", url, dict(headers or {}), b"", hashlib.sha256().hexdigest()) as response:
            if response.status == 200 and "range" in (headers or {}):
                raise S3Failed(f"{redacted(url)}: the server gives no parts of objects", 200, "NoRanges")
            if response.status not in (200, 206):
                raise _refusal("GET", url, self._read(response, "GET", url))
            yield response

    def pieces(self, response: BaseHTTPResponse, url: str, size: int) -> Iterator[bytes]:
        """The body of an answer that `open` gave, in pieces of up to `size` bytes.

        Raises:
            S3Failed: it ended too early, or comes too slowly.
        """
        return _pieces(response, url, size=size, seconds=self._web.read_seconds)

    def _read(self, response: BaseHTTPResponse, method: str, url: str) -> Reply:
        names = {name.lower(): value for name, value in response.headers.items()}
        if method == "HEAD":
            response.drain_conn()
            return Reply(response.status, names)
        found = bytearray()
        for piece in self.pieces(response, url, 1 << 20):
            found += piece
            if len(found) > _LARGEST_ANSWER:
                raise S3Failed(f"{redacted(url)}: the answer is too large", response.status, "BadAnswer")
        return Reply(response.status, names, bytes(found))

    def url(self, key: str = "", query: Mapping[str, str] | None = None) -> str:
        """The address of an object, or of the bucket."""
        path = quote(key, safe="/-_.~")
        return f"{self.place.base}/{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")

    def presigned(self, key: str, seconds: int, query: Mapping[str, str] | None = None) -> str:
        """An address by which whoever has it can get an object for so long."""
        return signed_url("GET", self.url(key, query), self._key(), self._now(), seconds)

    @contextmanager
    def _opened(
        self, method: str, url: str, headers: dict[str, str], body: bytes | memoryview, digest: str
    ) -> Iterator[BaseHTTPResponse]:
        target = self._web.policy.admit(url, [urlsplit(self.place.base).hostname or ""])
        sent = headers | signed_headers(method, url, headers, self._key(), self._now(), payload=digest)
        sent |= {"user-agent": USER_AGENT, "accept-encoding": "identity"}
        if len(body) or method in ("PUT", "POST"):
            sent["content-length"] = str(len(body))
        timeout = Timeout(connect=self._web.connect_seconds, read=self._web.read_seconds)
        try:
            response = self._ways.to(target).urlopen(
                method, url, body=_sent_pieces(body) if len(body) else None, headers=sent, redirect=False,
                retries=False, preload_content=False, timeout=timeout,
            )  # fmt: skip
        except SSLError as error:
            raise S3Failed(f"{redacted(url)}: {in_words(error)}", 0, "Tls") from error
        except (HTTPError, OSError) as error:
            raise S3Failed(f"{redacted(url)}: {in_words(error)}", 0, "Connection") from error
        try:
            yield response
        finally:
            if not response.closed:
                response.close()
            response.release_conn()


def _pieces(response: BaseHTTPResponse, url: str, *, size: int, seconds: float) -> Iterator[bytes]:
    """The body of an answer in pieces of up to `size` bytes.

    Args:
        seconds: after so many it must have come at `_SLOWEST` on average.

    Raises:
        S3Failed: it ended too early, or comes too slowly.
    """
    began, taken = time.monotonic(), 0
    try:
        while piece := response.read1(size):
            taken += len(piece)
            yield piece
            passed = time.monotonic() - began
            if passed > seconds and taken < passed * _SLOWEST:
                raise S3Failed(f"{redacted(url)}: the answer comes too slowly", 0, "Slow")
    except (HTTPError, OSError) as error:
        raise S3Failed(f"{redacted(url)}: the answer was cut off: {in_words(error)}", 0, "Cut") from error


def _sent_pieces(body: bytes | memoryview) -> Iterator[memoryview]:
    view = memoryview(body)
    for place in range(0, len(view), _SEND_PIECE):
        yield view[place : place + _SEND_PIECE]


def _refusal(method: str, url: str, reply: Reply) -> S3Failed:
    code, message = _told(reply.body)
    told = f"{code}: {message}" if message else code or _phrase(reply.status)
    asked = reply.headers.get("retry-after", "").strip()
    retry_after = float(asked) if asked.isdecimal() else None
    return S3Failed(
        f"{method} {redacted(url).partition('?')[0]}: {reply.status} {told}", reply.status, code, retry_after
    )


def _told(body: bytes) -> tuple[str, str]:
    """The code and the message of an error document; empty where there is none."""
    try:
        root = tree(body) if body else None
    except Malformed:
        return "", ""
    if root is None:
        return "", ""
    return root.told("Code")[:80], " ".join(root.told("Message").split())[:200]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
