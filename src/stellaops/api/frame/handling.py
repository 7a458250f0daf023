"""Calling the handlers of operations."""

from __future__ import annotations

import inspect
from functools import cache

from anyio import to_thread
from starlette.responses import Response

from stellaops.api.operation import Call, Handler, Operation


async def run_handler(operation: Operation, call: Call) -> Response:
    """What an operation's handler answers; a plain one in a thread, an async one here."""
    if _is_async(operation.handler):
        found = await operation.handler(call)  # type: ignore[misc] # an async one gives what can be awaited
    else:
        found = await to_thread.run_sync(operation.handler, call)
    assert isinstance(found, Response)  # noqa: S101 - the handler's type says so
    return found


@cache
def _is_async(handler: Handler) -> bool:
    return inspect.iscoroutinefunction(handler)
