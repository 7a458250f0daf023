"""Events of runs for however many watchers: one look at the store for all of them, however many there are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
from anyio import to_thread

from stellaops.core.errors import DependencyFailed, StellaError
from stellaops.exports.events import Event
from stellaops.exports.ports import Runs
from stellaops.exports.run import ENDED, RunStatus

_LOG = logging.getLogger("stellaops.api")
EVERY = 0.25  # seconds between two looks at the store
HEARTBEAT = 15.0  # seconds after which a silent stream gets a comment, so that nothing in between cuts it
LONGEST = 900.0  # seconds of one stream: as long as an access token lives
_MOST = 5000  # streams of one process
_PAGE = 1000
_BEAT = b": heartbeat\n\n"


class TooManyWatchers(DependencyFailed):
    """The process serves as many streams as it can."""

    code = "ERR_WATCHERS"
    hint = "Ask again in a while, or look at the run instead of watching it."


@dataclass(slots=True)
class _Channel:
    """A run that is watched: its events from the first on, each as the bytes of the stream."""

    run_id: str
    frames: list[bytes] = field(default_factory=list)
    over: bool = False
    watchers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Wake everyone who waits."""
        before, self.changed = self.changed, asyncio.Event()
        before.set()


class Watching:
    """The runs that are watched in this process."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._channels: dict[str, _Channel] = {}
        self._poller: asyncio.Task[None] | None = None
        self._streams = 0
        self._closed = False

    async def watch(self, run_id: str, after: int) -> AsyncIterator[bytes]:
        """The stream of a run's events with numbers above `after`, until no more will come.

        Raises:
            TooManyWatchers: before anything is sent.
        """
        if self._streams >= _MOST:
            raise TooManyWatchers(f"{self._streams} streams are open")
        return self._stream(run_id, after)

    def close(self) -> None:
        """End all streams; their readers come again, here or elsewhere, and go on where they were."""
        self._closed = True
        for channel in self._channels.values():
            channel.tell()

    async def _stream(self, run_id: str, after: int) -> AsyncIterator[bytes]:
        channel = self._join(run_id)
        sent, end = after, asyncio.get_running_loop().time() + LONGEST
        try:
            yield b"retry: 2000\n\n"
            while True:
                changed = channel.changed
                if len(channel.frames) > sent:
                    piece, sent = b"".join(channel.frames[sent:]), len(channel.frames)
                    yield piece
                    continue
                left = end - asyncio.get_running_loop().time()
                if channel.over or self._closed or left <= 0:
                    return
                try:
                    async with asyncio.timeout(min(HEARTBEAT, left)):
                        await changed.wait()
                except TimeoutError:
                    yield _BEAT
        finally:
            self._leave(channel)

    def _join(self, run_id: str) -> _Channel:
        channel = self._channels.setdefault(run_id, _Channel(run_id))
        channel.watchers += 1
        self._streams += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        return channel

    def _leave(self, channel: _Channel) -> None:
        channel.watchers -= 1
        self._streams -= 1
        if channel.watchers == 0:
            del self._channels[channel.run_id]

    async def _poll(self) -> None:
        while self._channels:
            open_ones = {run_id: each for run_id, each in self._channels.items() if not each.over}
            try:
                if open_ones:
                    heads = await to_thread.run_sync(self._runs.heads, list(open_ones))
                    await self._follow(open_ones, heads)
            except (
                StellaError
            ) as error:  # the store does not answer; the streams stay, and go on when it does
                _LOG.warning("events of runs cannot be read: %s", error.what, extra={"errorCode": error.code})
            await asyncio.sleep(EVERY)

    async def _follow(
        self, channels: Mapping[str, _Channel], heads: Mapping[str, tuple[int, RunStatus]]
    ) -> None:
        for run_id, channel in channels.items():
            total, status = heads.get(run_id, (0, RunStatus.EXPIRED))
            known = len(channel.frames)
            while len(channel.frames) < total:
                more = partial(self._runs.events, run_id, len(channel.frames), _PAGE)
                events: Sequence[Event] = await to_thread.run_sync(more)
                channel.frames += [frame(run_id, event) for event in events]
                if not events:
                    break
            channel.over = status in ENDED and len(channel.frames) >= total
            if channel.over or len(channel.frames) > known:
                channel.tell()


def frame(run_id: str, event: Event) -> bytes:
    """An event as server-sent events have it; the data is one line."""
    data = msgspec.json.encode(event.to_wire(run_id))
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.number, event.type.value.encode(), data)
