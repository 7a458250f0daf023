"""Answers with a JSON body, and conditional ones."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

_ENCODER = msgspec.json.Encoder()
_PRIVATE = "private, no-cache"


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON; structures, and what JSON has."""
    return Response(_ENCODER.encode(value), status, headers, "application/json")


def nothing(headers: Mapping[str, str] | None = None) -> Response:
    """Done, and nothing to say."""
    return Response(None, 204, headers)


def matches(etag: str, wanted: str | None) -> bool:
    """Whether If-None-Match names an entity tag, by the weak comparison of RFC 9110."""
    if wanted is None:
        return False
    tags = [each.strip().removeprefix("W/") for each in wanted.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags


def conditional(request: Request, found: Response) -> Response:
    """A 200 with its entity tag, or a 304 where the caller has the same already."""
    told = found.headers
    if found.status_code != 200 or found.media_type != "application/json":
        return found
    if isinstance(found, StreamingResponse) or "etag" in told or "cache-control" in told:
        return found
    etag = f'"{blake2b(found.body, digest_size=16).hexdigest()}"'
    headers = {"etag": etag, "cache-control": _PRIVATE}
    if matches(etag, request.headers.get("if-none-match")):
        return Response(None, 304, headers)
    found.headers.update(headers)
    return found
