"""The route of a run's events, as they come."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from anyio import to_thread
from starlette.responses import Response, StreamingResponse

from stellaops.api.frame.errors import InvalidRequest
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.runs import READ, find
from stellaops.api.watching import TooManyWatchers, Watching
from stellaops.exports.errors import RunNotFound
from stellaops.exports.run import ENDED

_MEDIA = "text/event-stream"
# Proxies neither keep nor hold back what they pass on.
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
Number = Annotated[
    int, msgspec.Meta(ge=0, le=2**53, description="only later events; Last-Event-ID goes before it")
]


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From where on."""

    after: Number = 0


async def watch(call: Call) -> Response:
    """The events of a run, from the first that the caller lacks to the last that will ever be."""
    run = await to_thread.run_sync(partial(find, call))
    after = _after(call)
    if run.status in ENDED and after >= run.events:
        return Response(None, 204)  # which tells event sources not to come again
    if after > run.events:
        raise InvalidRequest(f"run {run.id} has {run.events} events, and none of number {after}")
    if call.request.method == "HEAD":
        return Response(None, 200, _HEADERS, _MEDIA)
    watching = call.request.app.watching
    assert isinstance(watching, Watching)  # noqa: S101 - `App` has one
    return StreamingResponse(await watching.watch(run.id, after), 200, _HEADERS, _MEDIA)


def _after(call: Call) -> int:
    told = call.request.headers.get("last-event-id")
    if told is None or not told.strip():
        return int(call.query.after)
    if not told.strip().isdecimal() or len(told) > 16:
        raise InvalidRequest("Last-Event-ID must be the number of an event")
    return int(told)


OPERATIONS = (
    Operation(
        "watchRun", "GET", "/api/export/runs/{id}/events", "The events of a run, as they come", watch, READ,
        query=EventsQuery,
        answers={
            200: Answer(
                "Server-sent events: `id` counts them, `event` is their type, `data` one line of JSON; a comment every "
                "15 seconds. The stream ends after the last event; a longer one is cut after 15 minutes and goes on by "
                "Last-Event-ID",
                media=_MEDIA,
            ),
            204: Answer("The run has ended, and has no later events"),
        },
        errors=(RunNotFound, TooManyWatchers),
    ),
)  # fmt: skip
