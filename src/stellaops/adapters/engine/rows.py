"""The engine's own tables, as far as its library has no call for what is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Integer,
    Text,
    column,
    delete,
    func,
    or_,
    select,
    table,
    text,
    update,
)

from stellaops.adapters.engine import opening
from stellaops.adapters.sql.pieces import pieces

WORK_QUEUE = "work"
_ROUNDS, CLOSED = "rounds:", "closed"
_OF_EARLIER = "tenant:"
"""How queues of rounds are called, and were in earlier releases, when each tenant had one."""
LIVE = ("ENQUEUED", "PENDING", "DELAYED")
FIRST = 0
"""The priority of what is taken over: before everything that was never begun (the library itself gives 1 and above)."""

_workflow = table(
    "workflow_status",
    column("workflow_uuid", Text),
    column("status", Text),
    column("queue_name", Text),
    column("executor_id", Text),
    column("application_version", Text),
    column("priority", Integer),
    column("queue_partition_key", Text),
    column("created_at", BigInteger),
    column("completed_at", BigInteger),
)
# Written out, so that the indexes of the library, which hold for these words, are found.
_IN_FLIGHT = text("status IN ('ENQUEUED', 'PENDING')")
_PENDING = text("status = 'PENDING'")
_WAITING = text("status = 'ENQUEUED'")
_DELAYED = text("status = 'DELAYED'")
_queue = table("queues", column("name", Text))
_is_round = or_(_workflow.c.queue_name.startswith(_ROUNDS), _workflow.c.queue_name == CLOSED)


def queue_of(limit: int) -> str:
    """The queue of the rounds of all tenants with a limit; nobody takes anything from that of those without a place.

    One queue for each limit, in which each tenant has a part of its own: what a worker has to look at does not grow
    with the tenants that there are.
    """
    return f"{_ROUNDS}{limit}" if limit > 0 else CLOSED


def is_of_rounds(queue: str) -> bool:
    """Whether a queue holds rounds, and no work."""
    return queue.startswith((_ROUNDS, _OF_EARLIER))


@dataclass(frozen=True, slots=True)
class WorkId:
    """Names a workflow: a round of a run, or the work of one.

    A round begins with an enqueuing and holds one of the tenant's places: `<run>:<attempt>[.<again>]`. Its work is
    done where a worker has room: `<round>/<number>w<weight>`.
    """

    run: str
    round: str
    weight: int = 0

    @staticmethod
    def parse(identifier: str) -> WorkId:
        """The parts of a workflow's id."""
        name, _, work = identifier.partition("/")
        return WorkId(name.partition(":")[0], name, int(work.partition("w")[2] or 0))


class EngineRows:
    """Look-ups and changes in the tables of DBOS."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def states(self, names: Sequence[str]) -> dict[str, str]:
        """Status by name, of those workflows that there are."""
        statement = select(_workflow.c.workflow_uuid, _workflow.c.status).where(
            _workflow.c.workflow_uuid.in_(names)
        )
        with self._reading() as connection:
            return {row.workflow_uuid: row.status for row in connection.execute(statement)}

    def live(self, run_id: str | None = None) -> list[str]:
        """Names of what waits or is under way, of one run or of all."""
        statement = select(_workflow.c.workflow_uuid)
        if run_id is not None:
            statement = statement.where(_workflow.c.workflow_uuid.startswith(f"{run_id}:", autoescape=True))
        with self._reading() as connection:
            parts = (connection.execute(statement.where(part)).scalars() for part in (_IN_FLIGHT, _DELAYED))
            return [name for part in parts for name in part]

    def live_runs(self) -> set[str]:
        """Runs of which something waits or is under way."""
        return {WorkId.parse(each).run for each in self.live()}

    def live_among(self, names: Sequence[str]) -> set[str]:
        """Those of some workflows that have not ended."""
        found: set[str] = set()
        with self._reading() as connection:
            for some in pieces(names):
                piece = _workflow.c.workflow_uuid.in_(some)
                statement = select(_workflow.c.workflow_uuid).where(piece, _workflow.c.status.in_(LIVE))
                found.update(connection.execute(statement).scalars())
        return found

    def delayed_runs(self) -> set[str]:
        """Runs whose next round waits for its time."""
        statement = select(_workflow.c.workflow_uuid).where(_DELAYED)
        with self._reading() as connection:
            return {WorkId.parse(each).run for each in connection.execute(statement).scalars()}

    def numbers(self) -> dict[tuple[str, str], int]:
        """How many workflows are ENQUEUED and PENDING, by queue and status."""
        statement = (
            select(_workflow.c.queue_name, _workflow.c.status, func.count())
            .where(_IN_FLIGHT, _workflow.c.queue_name.is_not(None))
            .group_by(_workflow.c.queue_name, _workflow.c.status)
        )
        with self._reading() as connection:
            return {(queue, status): count for queue, status, count in connection.execute(statement)}

    def next_work(self, limit: int) -> list[int]:
        """Weights of what waits for a worker, in the order in which it is taken."""
        statement = (
            select(_workflow.c.workflow_uuid)
            .where(_IN_FLIGHT, _workflow.c.queue_name == WORK_QUEUE, _workflow.c.status == "ENQUEUED")
            .order_by(_workflow.c.priority, _workflow.c.created_at)
            .limit(limit)
        )
        with self._reading() as connection:
            return [WorkId.parse(each).weight for each in connection.execute(statement).scalars()]

    def work_of(self, executors: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The runs that each of some processes works on."""
        statement = select(_workflow.c.executor_id, _workflow.c.workflow_uuid).where(
            _PENDING,
            _workflow.c.queue_name == WORK_QUEUE,
            _workflow.c.executor_id.in_(executors),
        )
        found: dict[str, tuple[str, ...]] = {}
        with self._reading() as connection:
            for row in connection.execute(statement.order_by(_workflow.c.created_at)):
                run = WorkId.parse(row.workflow_uuid).run
                found[row.executor_id] = (*found.get(row.executor_id, ()), run)
        return found

    def waiting_in(self, tenants: Collection[str]) -> set[tuple[str, str]]:
        """Tenant and queue, wherever rounds of some tenants wait."""
        found: set[tuple[str, str]] = set()
        place = _workflow.c.queue_partition_key, _workflow.c.queue_name
        with self._reading() as connection:
            for some in pieces(list(tenants)):
                own = _workflow.c.queue_partition_key.in_(some)
                for state in (_WAITING, _DELAYED):
                    statement = select(*place).where(state, _is_round, own).distinct()
                    found.update((row[0], row[1]) for row in connection.execute(statement))
        return found

    def move(self, tenant: str, queue: str) -> int:
        """Let the waiting rounds of a tenant wait in another queue; how many there were."""
        elsewhere = _is_round, _workflow.c.queue_name != queue, _workflow.c.queue_partition_key == tenant
        moved = update(_workflow).values(queue_name=queue)
        return sum(self._change(moved.where(state, *elsewhere)) for state in (_WAITING, _DELAYED))

    def forget_queues_of_earlier_releases(self) -> int:
        """Remove the queue that a tenant had for itself, where nothing waits in it any more."""
        used = select(_workflow.c.queue_name).where(
            or_(_IN_FLIGHT, _DELAYED), _workflow.c.queue_name.is_not(None)
        )
        return self._change(
            delete(_queue).where(_queue.c.name.startswith(_OF_EARLIER), _queue.c.name.not_in(used))
        )

    def put_first(self, executor: str) -> None:
        """What a process leaves is taken before anything new, so that it keeps its place within every limit."""
        self._change(
            update(_workflow).where(_PENDING, _workflow.c.executor_id == executor).values(priority=FIRST)
        )

    def abandon(self, executor: str) -> int:
        """Cancel what no process of this release can go on with; the sweep begins it anew."""
        other = _workflow.c.application_version != opening.FLOW
        return self._change(
            update(_workflow)
            .where(_PENDING, _workflow.c.executor_id == executor, other)
            .values(status="CANCELLED", queue_name=None)
        )

    def strangers(self, known: Collection[str]) -> set[str]:
        """Processes that something is under way on, though they are none of those that are known."""
        statement = select(_workflow.c.executor_id).where(_PENDING).distinct()
        with self._reading() as connection:
            return {each for each in connection.execute(statement).scalars() if each and each not in known}

    def ended_before(self, instant: int, limit: int) -> list[str]:
        """Workflows that ended before an instant in milliseconds since 1970."""
        statement = (
            select(_workflow.c.workflow_uuid)
            .where(_workflow.c.status.not_in(LIVE), _workflow.c.completed_at < instant)
            .limit(limit)
        )
        with self._reading() as connection:
            return list(connection.execute(statement).scalars())

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        # Without the write lock that every transaction of the library's own takes on SQLite.
        with (
            self._engine.connect().execution_options(**{opening.READ_ONLY: True}) as connection,
            connection.begin(),
        ):
            yield connection

    def _change(self, statement: object) -> int:
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount  # type: ignore[call-overload,no-any-return]
