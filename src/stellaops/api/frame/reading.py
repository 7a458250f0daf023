"""Queries and bodies as the structures that operations take."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from anyio import to_thread
from starlette.requests import ClientDisconnect, Request

from stellaops.api.frame.errors import BodyTooLarge, InvalidRequest, MediaTypeUnsupported
from stellaops.api.frame.limits import Limits, check_depth
from stellaops.api.operation import NoQuery, Operation, Upload
from stellaops.kit.disk import disk_errors

_JSON = "application/json"
_FORGOTTEN = 24 * 3600.0  # seconds; no upload takes as long


def read_query(form: type[msgspec.Struct], query: bytes) -> msgspec.Struct:
    """The parameters of a query; one that is unknown, doubled or of the wrong form is refused.

    Raises:
        InvalidRequest: see there.
    """
    if not query and form is NoQuery:
        return NoQuery()
    lists = _lists(form)
    values: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the query cannot be read: {error}") from error
    for name, value in pairs:
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise InvalidRequest(f"the parameter {name[:80]!r} stands more than once in the query")
        else:
            values[name] = value
    try:
        return msgspec.convert(values, form, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"query: {error}") from error


@cache
def _lists(form: type[msgspec.Struct]) -> frozenset[str]:
    """Parameters that may stand more than once."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(form) if _is_list(field.type))


def _is_list(form: Any) -> bool:
    forms = (form, *get_args(form))
    return any(get_origin(each) in (list, tuple) or each in (list, tuple) for each in forms)


@asynccontextmanager
async def body_of(request: Request, operation: Operation, limits: Limits) -> AsyncIterator[tuple[Any, str]]:
    """The body as the operation takes it, and the digest of its bytes; an upload lasts as long as the context.

    Raises:
        InvalidRequest, BodyTooLarge, MediaTypeUnsupported: see there.
    """
    if operation.upload:
        with _place(limits.incoming) as place:
            upload = await _spool(request, place / "body", operation, limits.upload)
            yield upload, upload.sha256
        return
    data = await _bytes(request, limits.body)
    digest = hashlib.sha256(data).hexdigest() if operation.mutating else ""
    if operation.raw is not None:
        _check_media(request, (operation.raw,))
        yield data, digest
    elif operation.body is None:
        if data:
            raise InvalidRequest("this operation takes no body")
        yield None, digest
    else:
        yield _decoded(request, data, operation, limits), digest


def _decoded(request: Request, data: bytes, operation: Operation, limits: Limits) -> Any:
    if not data:
        if operation.required:
            raise InvalidRequest("a JSON body is needed")
        return operation.body()
    _check_media(request, (_JSON,))
    check_depth(data, limits.depth)
    try:
        return msgspec.json.decode(data, type=operation.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"body: {error}") from error


def _check_media(request: Request, allowed: tuple[str, ...]) -> str:
    told = request.headers.get("content-type", "")
    media = told.partition(";")[0].strip().lower()
    if media not in allowed:
        raise MediaTypeUnsupported(
            f"Content-Type must be {' or '.join(allowed)}, not {told[:80] or 'absent'}"
        )
    return media


async def _bytes(request: Request, limit: int) -> bytes:
    _check_length(request, limit)
    parts, size = [], 0
    async for part in _stream(request):
        size += len(part)
        if size > limit:
            raise BodyTooLarge(f"the body is larger than {limit:,} bytes")
        parts.append(part)
    return b"".join(parts)


async def _spool(request: Request, path: Path, operation: Operation, limit: int) -> Upload:
    media = _check_media(request, operation.upload)
    _check_length(request, limit)
    hasher, size = hashlib.sha256(), 0
    with disk_errors(path), path.open("wb") as file:
        async for part in _stream(request):
            size += len(part)
            if size > limit:
                raise BodyTooLarge(f"the body is larger than {limit:,} bytes")
            hasher.update(part)
            await to_thread.run_sync(file.write, part)
    return Upload(path, size, hasher.hexdigest(), media)


@contextmanager
def _place(incoming: Path | None) -> Iterator[Path]:
    with disk_errors(incoming or Path(tempfile.gettempdir())):
        if incoming is not None:
            incoming.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(prefix="incoming-", dir=incoming, ignore_cleanup_errors=True)
    with place as found:
        yield Path(found)


def sweep_incoming(incoming: Path, now: float) -> None:
    """Remove what processes left that died long ago.

    Args:
        now: seconds of the clock that files are dated by.
    """
    for place in incoming.glob("incoming-*"):
        with suppress(OSError):
            if place.stat().st_mtime < now - _FORGOTTEN:
                shutil.rmtree(place, ignore_errors=True)


async def _stream(request: Request) -> AsyncIterator[bytes]:
    try:
        async for part in request.stream():
            yield part
    except ClientDisconnect as error:
        raise InvalidRequest("the connection ended before the body did") from error


def _check_length(request: Request, limit: int) -> None:
    told = request.headers.get("content-length", "0")
    if not told.isdecimal():
        raise InvalidRequest(f"Content-Length {told[:40]!r} is no number")
    if int(told) > limit:
        raise BodyTooLarge(f"the body is larger than {limit:,} bytes")
