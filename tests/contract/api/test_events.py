"""Events of runs as they come: order, resuming, the end, and one look at the store for however many watchers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from stellaops.api import watching
from stellaops.api.watching import Watching, frame
from stellaops.core.errors import DependencyFailed
from stellaops.exports.events import Event, EventType
from stellaops.exports.run import RunStatus
from tests.contract.api.conftest import Filled

_NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_RUNS = "/api/export/runs"


def _parsed(stream: str) -> Iterator[dict[str, Any]]:
    """The events of a stream, as a reader of server-sent events sees them."""
    for block in stream.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":")
        )
        if "data" in fields:
            yield {"id": int(fields["id"]), "event": fields["event"], "data": json.loads(fields["data"])}


def test_the_stream_of_a_run_is_all_of_its_events_and_then_ends(filled: Filled) -> None:
    found = filled.api.get(f"{_RUNS}/{filled.run.id}/events")
    assert found.status_code == 200
    assert found.headers["content-type"].startswith("text/event-stream")
    assert found.headers["cache-control"] == "no-store"
    events = list(_parsed(found.text))
    assert [each["id"] for each in events] == list(range(1, filled.run.events + 1))
    assert events[0]["event"] in ("run.pending", "run.started")
    assert events[-1]["event"] == "run.succeeded"
    assert {each["data"]["runId"] for each in events} == {filled.run.id}
    assert all(each["data"]["type"] == each["event"] for each in events)


def test_a_reader_that_comes_again_gets_exactly_the_rest(filled: Filled) -> None:
    path = f"{_RUNS}/{filled.run.id}/events"
    whole = list(_parsed(filled.api.get(path).text))
    for seen in range(filled.run.events):
        by_header = filled.api.get(path, headers={"last-event-id": str(seen)})
        assert list(_parsed(by_header.text)) == whole[seen:]
        assert list(_parsed(filled.api.get(f"{path}?after={seen}").text)) == whole[seen:]
    assert filled.api.get(path, headers={"last-event-id": str(filled.run.events)}).status_code == 204


@pytest.mark.parametrize("told", ["-1", "x", "1.5", "9" * 40])
def test_a_number_that_is_none_is_refused(filled: Filled, told: str) -> None:
    found = filled.api.get(f"{_RUNS}/{filled.run.id}/events", headers={"last-event-id": told})
    assert found.status_code == 400


def test_a_number_that_is_not_yet_is_refused(filled: Filled) -> None:
    run = filled.api.post(_RUNS, {"profile": "json:raw"}).json()["runId"]
    assert filled.api.get(f"{_RUNS}/{run}/events?after=99").status_code == 400
    assert filled.api.ask("HEAD", f"{_RUNS}/{run}/events").status_code == 200
    filled.api.post(f"{_RUNS}/{run}/cancel")


class _Runs:
    """Events in memory, and a count of how often they were asked for."""

    def __init__(self) -> None:
        self.stored: dict[str, list[Event]] = {}
        self.status: dict[str, RunStatus] = {}
        self.looks = self.reads = 0
        self.broken = False

    def tell(self, run_id: str, *types: EventType) -> None:
        told = self.stored.setdefault(run_id, [])
        self.status.setdefault(run_id, RunStatus.RUNNING)
        for each in types:
            told.append(Event(each, _NOON, {"step": f"{len(told)}"}, len(told) + 1))

    def heads(self, run_ids: Collection[str]) -> Mapping[str, tuple[int, RunStatus]]:
        self.looks += 1
        if self.broken:
            raise DependencyFailed("the store is away")
        return {each: (len(self.stored[each]), self.status[each]) for each in run_ids if each in self.stored}

    def events(self, run_id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        self.reads += 1
        return [each for each in self.stored[run_id] if each.number > after][:limit]


async def _numbers(stream: AsyncIterator[bytes]) -> list[int]:
    text = b"".join([piece async for piece in stream]).decode()
    return [each["id"] for each in _parsed(text)]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> _Runs:
    monkeypatch.setattr(watching, "EVERY", 0.01)
    return _Runs()


def _watching(runs: _Runs) -> Watching:
    return Watching(runs)  # type: ignore[arg-type] # the two questions that it asks are all that it needs


def test_two_hundred_watchers_cost_one_look(runs: _Runs) -> None:
    async def watch() -> list[list[int]]:
        hub = _watching(runs)
        runs.tell("r", EventType.PENDING, EventType.STARTED)
        streams = [asyncio.create_task(_numbers(await hub.watch("r", number % 3))) for number in range(200)]
        await asyncio.sleep(0.1)
        runs.tell("r", *[EventType.PROGRESS] * 5, EventType.SUCCEEDED)
        runs.status["r"] = RunStatus.SUCCEEDED
        return list(await asyncio.gather(*streams))

    found = asyncio.run(asyncio.wait_for(watch(), 20))
    assert [each[0] for each in found[:3]] == [1, 2, 3]
    assert all(each == list(range(each[0], 9)) for each in found)
    assert runs.reads <= 3
    assert runs.looks < 100


def test_a_silent_stream_beats(runs: _Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "HEARTBEAT", 0.05)
    monkeypatch.setattr(watching, "LONGEST", 0.3)

    async def watch() -> bytes:
        runs.tell("r", EventType.PENDING)
        return b"".join([piece async for piece in await _watching(runs).watch("r", 0)])

    text = asyncio.run(watch())
    assert 3 <= text.count(b": heartbeat\n\n") <= 6
    assert text.startswith(b"retry: ")


def test_streams_end_with_the_process_and_go_on_in_another(runs: _Runs) -> None:
    async def watch() -> tuple[list[int], list[int]]:
        runs.tell("r", EventType.PENDING, EventType.STARTED)
        hub = _watching(runs)
        first = asyncio.create_task(_numbers(await hub.watch("r", 0)))
        await asyncio.sleep(0.1)
        hub.close()
        before = await asyncio.wait_for(first, 5)
        runs.tell("r", EventType.FAILED)
        runs.status["r"] = RunStatus.FAILED
        return before, await asyncio.wait_for(_numbers(await _watching(runs).watch("r", before[-1])), 5)

    assert asyncio.run(watch()) == ([1, 2], [3])


def test_a_store_that_is_away_for_a_while_loses_nothing(runs: _Runs) -> None:
    async def watch() -> list[int]:
        runs.tell("r", EventType.PENDING)
        stream = asyncio.create_task(_numbers(await _watching(runs).watch("r", 0)))
        await asyncio.sleep(0.05)
        runs.broken = True
        runs.tell("r", EventType.CANCELLED)
        runs.status["r"] = RunStatus.CANCELLED
        await asyncio.sleep(0.05)
        runs.broken = False
        return await asyncio.wait_for(stream, 5)

    assert asyncio.run(watch()) == [1, 2]


def test_the_stream_of_a_run_that_is_deleted_ends(runs: _Runs) -> None:
    async def watch() -> list[int]:
        runs.tell("r", EventType.PENDING)
        stream = asyncio.create_task(_numbers(await _watching(runs).watch("r", 0)))
        await asyncio.sleep(0.05)
        del runs.stored["r"]
        return await asyncio.wait_for(stream, 5)

    assert asyncio.run(watch()) == [1]


def test_nothing_is_asked_when_nobody_watches(runs: _Runs) -> None:
    async def watch() -> int:
        runs.tell("r", EventType.PENDING)
        hub = _watching(runs)
        stream = await hub.watch("r", 0)
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined] # it is a generator
        await asyncio.sleep(0.05)
        looks = runs.looks
        await asyncio.sleep(0.1)
        return runs.looks - looks

    assert asyncio.run(watch()) == 0


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    event = replace(Event(EventType.FAILED, _NOON, {"error": "one\ntwo\r\nid: 7\n\n"}), number=4)
    (found,) = _parsed(frame("r", event).decode())
    assert found["id"] == 4
    assert found["data"]["error"] == "one\ntwo\r\nid: 7\n\n"
