"""Answers before they are sent: representations with their headers, and problems."""

from __future__ import annotations

import secrets
from base64 import b64encode
from dataclasses import dataclass, field

import msgspec

from stellaops.adapters.files.export_trees import Stored
from stellaops.core.errors import StellaError

Headers = list[tuple[bytes, bytes]]

_MEDIA = (
    (".sigstore.json", "application/vnd.dev.sigstore.bundle.v0.3+json"),
    (".json", "application/json"),
    (".jsonl", "application/jsonl"),
    (".sig", "text/plain; charset=utf-8"),
    (".jws", "application/jose"),
    (".pub", "application/x-pem-file"),
    (".zip", "application/zip"),
    (".gz", "application/gzip"),
    (".zst", "application/zstd"),
    (".csv", "text/csv; charset=utf-8"),
    (".txt", "text/plain; charset=utf-8"),
)
_CODES_OF_REGISTRIES = {
    401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN", 405: "UNSUPPORTED", 416: "RANGE_INVALID",
    429: "TOOMANYREQUESTS",
}  # fmt: skip
_TITLES = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    416: "Range Not Satisfiable", 429: "Too Many Requests", 503: "Service Unavailable",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """A representation that was chosen.

    Attributes:
        coding: its content coding; empty for none.
        media: its type, as it is without the coding.
        cache: HIT, MISS, STALE or REVALIDATED.
        more: headers that only this kind of answer has.
    """

    stored: Stored
    media: str
    coding: str = ""
    cache: str = "MISS"
    export: str = ""
    more: Headers = field(default_factory=list)
    lines: Headers | None = None
    """The headers that tell what it is, where they were put together before."""


class Refused(Exception):
    """An answer that gives nothing.

    Args:
        headers: such as the challenge, Retry-After and Allow.
    """

    def __init__(self, status: int, error: StellaError, headers: Headers | None = None) -> None:
        super().__init__(error.what)
        self.status, self.error, self.headers = status, error, headers or []


def media_of(path: str) -> str:
    """The type of a file, by its name."""
    return next((media for ending, media in _MEDIA if path.endswith(ending)), "application/octet-stream")


def etag(stored: Stored) -> bytes:
    """The strong entity tag: the digest of the bytes as they are sent."""
    return b'"sha256:%s"' % stored.sha256.hex().encode()


def describing(found: Found) -> Headers:
    """The headers that tell what a representation is."""
    if found.lines is not None:
        return found.lines
    digest = b64encode(found.stored.sha256)
    headers = [
        (b"content-type", found.media.encode()),
        (b"etag", etag(found.stored)),
        (b"accept-ranges", b"bytes"),
        (b"digest", b"SHA-256=" + digest),
        (b"repr-digest", b"sha-256=:" + digest + b":"),
        (b"x-content-type-options", b"nosniff"),
        *found.more,
    ]
    if found.coding:
        headers.append((b"content-encoding", found.coding.encode()))
    if found.export:
        headers.append((b"x-stella-export-id", found.export.encode()))
    return headers


def problem(refused: Refused, *, registry: bool, trace: str = "") -> tuple[bytes, Headers]:
    """Body and headers of a refusal: problem+json (RFC 9457), or the errors of a registry.

    Args:
        trace: the id of the trace that the request is in; one is made up where there is none.
    """
    error = refused.error
    if registry:
        code = _CODES_OF_REGISTRIES.get(refused.status, "UNAVAILABLE")
        wire: dict[str, object] = {"errors": [{"code": code, "message": error.what, "detail": error.advice}]}
        media = b"application/json"
    else:
        wire = {
            "type": "about:blank",
            "title": _TITLES.get(refused.status, "Error"),
            "status": refused.status,
            "detail": error.what,
            "code": error.code,
            "hint": error.advice,
            "details": list(error.details),
            "traceId": trace or secrets.token_hex(16),
        }
        media = b"application/problem+json"
    body = msgspec.json.encode(wire)
    headers = [
        (b"content-type", media),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *refused.headers,
    ]
    return body, headers
