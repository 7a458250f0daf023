"""One worker process of the engine: it takes rounds and work from the queues, and takes over from lost workers.

Three things are ours here, because the engine has them not (docs/decisions/0027-the-queue-engine.md): who is alive
and what becomes of the work of those who are not; weights of work against the slots of a worker; and that a tenant's
limit holds to the letter, at the moment in which a run begins.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dbos import DBOS
from dbos._core import ActiveWorkflowById
from sqlalchemy import Engine

from stellaops.adapters.engine import leases, opening
from stellaops.adapters.engine.dbos_queue import WIDE, DbosQueue
from stellaops.adapters.engine.rows import WORK_QUEUE, EngineRows, WorkId, is_of_rounds
from stellaops.adapters.sql.engine import dialect_of
from stellaops.core.errors import StellaError

OVER, AGAIN = "over", "again"
"""What became of a piece of work: it is over, as the run's record says; or its run may not begin yet."""

_LOG = logging.getLogger("stellaops.engine")
_POLL = 0.1
_LOCK_SECONDS = 3.0


@dataclass
class Slots:
    """The weight that one process may work on at once."""

    total: int
    _held: dict[str, int] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def free(self) -> int:
        """What is left."""
        return self.total - sum(self._held.values())

    @contextmanager
    def held(self, name: str, weight: int) -> Iterator[None]:
        """Hold some, as soon as there is room; something that is heavier than all takes all."""
        weight = min(weight, self.total)
        with self._changed:
            self._changed.wait_for(lambda: self.free >= weight)
            self._held[name] = weight
        try:
            yield
        finally:
            with self._changed:
                del self._held[name]
                self._changed.notify_all()


class _Gate(ActiveWorkflowById):
    """What the engine asks for the number of workflows under way in this process before it takes more of a queue.

    The queues' bounds for one process stand far above it, so that the answer decides: work is taken as far as its
    weights fit into the slots, in order, and nothing at all once the gate is closed. A queue in which nothing waits is
    not even tried: each try takes the lock of the database.
    """

    def __init__(
        self, room: Callable[[int], int], waits: Callable[[str], bool], is_open: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._room = room
        self._waits = waits
        self._is_open = is_open
        self._begun: set[str] = set()

    def begun(self, name: str) -> None:
        """A piece of work has found its slots."""
        with self._lock:
            self._begun.add(name)

    def count_for_queue(self, queue_name: str) -> int:
        """See the engine."""
        if queue_name == WORK_QUEUE:
            return WIDE - self._room(self._on_its_way()) if self._is_open() else WIDE
        if is_of_rounds(queue_name) and not (self._is_open() and self._waits(queue_name)):
            return WIDE
        return super().count_for_queue(queue_name)

    def _on_its_way(self) -> int:
        """The weight of work that was taken and has not found its slots yet."""
        with self._lock:
            self._begun &= self._m.keys()
            names = (name for name in self._m if name not in self._begun)
            return sum(WorkId.parse(name).weight for name in names)


class _Ends:
    """Tells waiting rounds that their work has ended: one look for all of them, however many wait."""

    def __init__(self, rows: EngineRows) -> None:
        self._rows = rows
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = {}

    async def wait(self, name: str) -> None:
        """Until a workflow has ended, in whatever way."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiting[name] = (loop, future)
        await future

    def look(self) -> None:
        """Wake those whose work has ended."""
        with self._lock:
            names = list(self._waiting)
        if not names:
            return
        ended = set(names) - self._rows.live_among(names)
        with self._lock:
            woken = [self._waiting.pop(name) for name in ended]
        for loop, future in woken:
            loop.call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass(frozen=True, slots=True)
class Tasks:
    """What a worker process does.

    Attributes:
        execute: works on a run (tenant, id) until it is over, or says that it may not begin yet.
        running: how many other runs of a tenant are running, beside one.
        scheduled: submits the run of a schedule (tenant, profile) for an instant.
        lost: called when the others have taken over from this worker; must end the process.
    """

    execute: Callable[[str, str], str]
    running: Callable[[str, str], int]
    scheduled: Callable[[str, str, datetime], None]
    lost: Callable[[], None]


class EngineWorker:
    """A process as a worker of the engine; there can be one in a process."""

    def __init__(self, queue: DbosQueue, service: Engine, tasks: Tasks, *, name: str, slots: int) -> None:
        self._queue = queue
        self._service = service
        self._tasks = tasks
        self.name = name
        self.slots = Slots(slots)
        self._state = leases.RUNNING
        self._stopping = threading.Event()
        self._since_beat = 0.0
        self._steady_since = 0.0
        self._paused = (0.0, False)
        self._numbers: tuple[float, Mapping[tuple[str, str], int]] = (0.0, {})
        self._looking = threading.Lock()
        self._strangers: set[str] = set()
        self._gate = _Gate(self._room, self._waits, self._is_open)
        self._ends = _Ends(queue.rows)

    def start(self) -> None:
        """Begin to take work."""
        _register(self._run, self._work, self._tasks.scheduled)
        dbos = DBOS(config=opening.configuration(self._queue.engine, self.name))
        opening.quieten()
        dbos._active_workflows_set = self._gate
        self._queue.leases.enter(self.name, self.slots.total, int(time.time() * 1_000_000))
        self._steady_since = self._since_beat = time.monotonic()
        DBOS.launch()
        DBOS.register_queue(
            WORK_QUEUE, worker_concurrency=WIDE, polling_interval_sec=_POLL, on_conflict="always_update"
        )
        threading.Thread(target=self._live, name="leases", daemon=True).start()
        threading.Thread(target=self._look_for_ends, name="ends", daemon=True).start()

    def close_gate(self) -> None:
        """Take nothing more."""
        self._state = leases.DRAINING

    def hand_over(self) -> None:
        """Give everything that is under way here to the others. The process must end right after."""
        self.close_gate()
        self._stopping.set()
        self._take_from(self.name)
        self._queue.leases.give_up(self.name)

    @contextmanager
    def permission(self, tenant: str, run_id: str, *, begun: bool) -> Iterator[bool]:
        """Whether a run may begin now; nobody else of the tenant begins one meanwhile.

        Args:
            begun: the run is counted already, since another worker has begun it.
        """
        if begun:
            yield True
            return
        with self._tenant_lock(tenant):
            yield not self.is_paused() and self._has_place(tenant, run_id)

    def is_paused(self) -> bool:
        """Whether the queue is paused, as of a moment ago."""
        asked, paused = self._paused
        if time.monotonic() - asked > _POLL:
            paused = self._queue.paused_since is not None
            self._paused = (time.monotonic(), paused)
        return paused

    def _has_place(self, tenant: str, run_id: str) -> bool:
        return self._tasks.running(tenant, run_id) < self._queue.limit_of(tenant)

    @contextmanager
    def _tenant_lock(self, tenant: str) -> Iterator[None]:
        """Among all processes. One that was stopped while it held the lock is not waited for: the queues hold too."""
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            with dialect_of(self._service).lock(self._service, None, f"begin {tenant}") as held:
                if held or time.monotonic() > end:
                    yield
                    return
            time.sleep(0.01)

    def _is_open(self) -> bool:
        return self._state == leases.RUNNING and not self.is_paused()

    def _room(self, on_its_way: int) -> int:
        """How many more pieces of work this process may take."""
        free, number = self.slots.free - on_its_way, 0
        if free <= 0:
            return 0
        for weight in self._queue.rows.next_work(free):
            free -= min(weight, self.slots.total)
            if free < 0:
                break
            number += 1
        return number

    def _waits(self, queue: str) -> bool:
        """Whether something waits in a queue, as of a moment ago."""
        with self._looking:
            asked, numbers = self._numbers
            if time.monotonic() - asked > _POLL / 2:
                numbers = self._queue.rows.numbers()
                self._numbers = (time.monotonic(), numbers)
        return numbers.get((queue, "ENQUEUED"), 0) > 0

    async def _run(self, tenant: str, run: str, weight: int, priority: int) -> None:
        """A round: it holds the tenant's place until the work is over."""
        number = 0
        while True:
            name = f"{DBOS.workflow_id}/{number}w{weight}"
            handle = await DBOS.enqueue_workflow_with_options_async(
                {
                    "workflow_name": "work",
                    "queue_name": WORK_QUEUE,
                    "workflow_id": name,
                    "priority": priority,
                },
                tenant,
                run,
            )
            await self._ends.wait(name)
            if await handle.get_result() != AGAIN:
                return
            number += 1
            while not await asyncio.to_thread(self._might_begin, tenant, run):
                await asyncio.sleep(1)

    def _look_for_ends(self) -> None:
        while not self._stopping.wait(_POLL):
            try:
                self._ends.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may be well
                _LOG.warning("ends of work cannot be seen: %s", str(error).splitlines()[0])
                time.sleep(1)

    def _might_begin(self, tenant: str, run: str) -> bool:
        try:
            return not self.is_paused() and self._has_place(tenant, run)
        except StellaError:
            return False

    def _work(self, tenant: str, run: str) -> str:
        name = DBOS.workflow_id or ""
        with self.slots.held(name, WorkId.parse(name).weight):
            self._gate.begun(name)
            return self._tasks.execute(tenant, run)

    def _live(self) -> None:
        """Give signs of life, and take over from those who give none."""
        while not self._stopping.wait(leases.BEAT):
            try:
                if not self._queue.leases.beat(self.name, self._state):
                    self._tasks.lost()
                    return
                self._note_beat()
                if time.monotonic() - self._steady_since >= leases.STEADY:
                    self._take_over()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next beat may be well
                _LOG.warning("no sign of life could be given: %s", str(error).splitlines()[0])

    def _note_beat(self) -> None:
        # After a pause of the database, or of this process, everyone has been silent: wait before judging others.
        now = time.monotonic()
        if now - self._since_beat > 2 * leases.BEAT + 1:
            self._steady_since = now
        self._since_beat = now

    def _take_over(self) -> None:
        for lost in self._queue.leases.lost():
            _LOG.warning("worker %s is lost: what it worked on is taken over", lost)
            self._take_from(lost)
            self._queue.rows.abandon(lost)
            self._queue.leases.bury(lost)
        # A process that was held for dead may take something at its last moment, and then ends.
        found = self._queue.rows.strangers([lease.id for lease in self._queue.leases.all()])
        for stranger in (
            found & self._strangers
        ):  # at two looks: one may have begun to live between the queries
            self._take_from(stranger)
        self._strangers = found

    def _take_from(self, executor: str) -> None:
        self._queue.rows.put_first(executor)
        DBOS._recover_pending_workflows([executor])


def _register(
    run: Callable[..., Any], work: Callable[[str, str], str], scheduled: Callable[[str, str, datetime], None]
) -> None:
    """Make the workflows known by their names. They come back as often as workers die; the worker counts that."""

    @DBOS.workflow(name="run", max_recovery_attempts=None)
    async def run_workflow(tenant: str, run_id: str, weight: int, priority: int) -> None:
        await run(tenant, run_id, weight, priority)

    @DBOS.workflow(name="work", max_recovery_attempts=None)
    def work_workflow(tenant: str, run_id: str) -> str:
        return work(tenant, run_id)

    @DBOS.workflow(name="scheduled", max_recovery_attempts=None)
    def scheduled_workflow(at: datetime, context: Any) -> None:
        wire: Mapping[str, str] = context
        scheduled(wire["tenant"], wire["profile"], at)
