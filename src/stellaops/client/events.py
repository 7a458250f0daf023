"""Events of a run as they come (server-sent events), through broken connections and restarts of the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from stellaops.client.connection import Connection, path_of
from stellaops.client.errors import FollowLost, ServerUnreachable
from stellaops.core.errors import DependencyFailed, QuotaExceeded
from stellaops.exports.events import LAST

Wire = dict[str, Any]

_SILENCE = 45.0
"""Seconds without even a heartbeat after which a connection counts as dead; the server sends one every 15."""
_PAUSES = (0.2, 0.5, 1.0, 2.0)
_LAST = frozenset(each.value for each in LAST)
_LONGEST_LINE = 8 << 20


@dataclass(frozen=True, slots=True)
class Sent:
    """One event of a stream."""

    id: str
    type: str
    data: str


def parse(pieces: Iterable[bytes]) -> Iterator[Sent]:
    """Events out of the bytes of a stream, however they are cut.

    An event whose end did not come is left out, as the specification says.
    """
    number, kind = "", ""
    data: list[str] = []
    for line in _lines(pieces):
        if not line:
            if data:
                yield Sent(number, kind or "message", "\n".join(data))
            kind = ""
            data.clear()
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id" if "\0" not in value:
                number = value
            case "event":
                kind = value
            case "data":
                data.append(value)


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    held = b""
    for piece in pieces:
        held += piece
        *lines, held = held.split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if len(held) > _LONGEST_LINE:
            raise ServerUnreachable("a line of the stream of events has no end")


def follow(
    connection: Connection,
    run_id: str,
    after: int = 0,
    *,
    patience: float = 600.0,
    away: Callable[[float], None] = lambda seconds: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Wire]:
    """The events of a run with numbers above `after`, each once and in order, until none will come.

    Args:
        patience: seconds that the server may be away at a time.
        away: told for how long it has been away.

    Raises:
        FollowLost: the server was away for longer.
        StellaError: the server refuses.
    """
    seen, lost, tries = after, None, 0
    while True:
        try:
            for event in _stream(connection, run_id, seen):
                lost, tries = None, 0
                if event is None:
                    return
                if event["number"] > seen:
                    seen = event["number"]
                    yield event
                if event["type"] in _LAST:
                    return
        except (DependencyFailed, QuotaExceeded) as error:
            lost = clock() if lost is None else lost
            if clock() - lost > patience:
                raise FollowLost(
                    f"run {run_id}: no word from the server for {patience:.0f} s: {error.what}"
                ) from error
            away(clock() - lost)
        connection.pause(_PAUSES[min(tries, len(_PAUSES) - 1)])
        tries += 1


def _stream(connection: Connection, run_id: str, after: int) -> Iterator[Wire | None]:
    """The events of one connection; None where the server says that there are no more."""
    headers = {"accept": "text/event-stream", "accept-encoding": "identity", "last-event-id": str(after)}
    path = path_of("", "api", "export", "runs", run_id, "events")
    with connection.open("GET", path, headers, read=_SILENCE) as response:
        if response.status == 204:
            yield None
            return
        for sent in parse(connection.pieces(response, 1 << 16)):
            event = _decoded(sent)
            if event is not None:
                yield event


def _decoded(sent: Sent) -> Wire | None:
    """An event as a run has it; None for one of a form that this release does not know."""
    try:
        data = msgspec.json.decode(sent.data)
    except msgspec.DecodeError:
        return None
    if not isinstance(data, dict) or not sent.id.isdecimal():
        return None
    return {**data, "type": sent.type, "number": int(sent.id)}
