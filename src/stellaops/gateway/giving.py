"""Sending what was found: whole, in part, in pieces, or only that the caller has it already."""

from __future__ import annotations

import asyncio
import os

from starlette.types import Send

from stellaops.adapters.files.export_trees import read_now
from stellaops.gateway.answers import Found, Headers, Refused, describing, etag
from stellaops.gateway.decisions import Decisions
from stellaops.gateway.doorman import Caller
from stellaops.gateway.errors import MirrorNotReady
from stellaops.gateway.plans import Plan
from stellaops.gateway.requests import Request

_PIECE = 1 << 20
_PARTING = 0.05
_STALLED = 60.0  # seconds in which a client takes nothing of an answer


class Giving:
    """Sends representations, each counted in its caller's budget."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    async def give(self, request: Request, plan: Plan, caller: Caller, found: Found, send: Send) -> None:
        """Send a representation, or that the caller has it already, or a part of it."""
        known, part = self._decisions.part(request, found)
        tag = etag(found.stored) if part else b""
        rates = await self._decisions.spend(request, plan, caller, tag)
        request.cache = found.cache
        headers = [*describing(found), *plan.headers, (b"x-cache-status", found.cache.encode()), *rates]
        if known:
            request.status = 304
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        begin, end = part or (0, found.stored.size)
        headers.append((b"content-length", b"%d" % (end - begin)))
        if part:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (begin, end - 1, found.stored.size)))
        request.status = 206 if part else 200
        if request.method == "HEAD":
            await send({"type": "http.response.start", "status": request.status, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        body = found.stored.body
        if body is None:
            await self._stream(request, found, (begin, end), headers, send)
            return
        request.bytes = end - begin
        request.has_begun = True
        await send({"type": "http.response.start", "status": request.status, "headers": headers})
        await send({"type": "http.response.body", "body": body[begin:end] if part else body})

    async def _stream(
        self, request: Request, found: Found, part: tuple[int, int], headers: Headers, send: Send
    ) -> None:
        """Send a large file, or a part of it, in pieces."""
        descriptor = await asyncio.to_thread(
            os.open, found.stored.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        )
        try:
            state = os.fstat(descriptor)
            if (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns) != found.stored.identity:
                raise Refused(503, MirrorNotReady("the file was just replaced"), [(b"retry-after", b"1")])
            begin, end = part
            request.has_begun = True
            await send({"type": "http.response.start", "status": request.status, "headers": headers})
            while begin < end and not request.is_gone():
                size = min(_PIECE, end - begin)
                piece = read_now(descriptor, begin, size)
                if not piece:
                    piece = await asyncio.to_thread(os.pread, descriptor, size, begin)
                if not piece:
                    raise OSError(f"{found.stored.path} became shorter")
                begin += len(piece)
                request.bytes += len(piece)
                async with asyncio.timeout(_STALLED):
                    await send({"type": "http.response.body", "body": piece, "more_body": begin < end})
            if begin < end:  # the server is about to hear that nobody is there any more
                await asyncio.sleep(_PARTING)
        finally:
            os.close(descriptor)
