"""Two attempts of one run, whose workers do not know of each other: nothing ever moves backwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stellaops.exports import control_runs, execute_run
from stellaops.exports.errors import ArchiveGone, RunChanged, RunState, SigningFailed
from stellaops.exports.events import LAST
from stellaops.exports.execute_run import STEPS
from stellaops.exports.plan_run import Tools
from stellaops.exports.run import ENDED, Run, RunStatus
from tests.unit.exports.executing import TENANT, Service, document

Step = Callable[[Run, Tools], Run]
REFUSED = (RunChanged, RunState)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    found = Service(tmp_path_factory.mktemp("attempts"))
    found.take(document(1), document(2))
    return found


class Attempt:
    """A worker's view of a run: what it was when the worker last wrote or read it."""

    def __init__(self, name: str, service: Service, run_id: str) -> None:
        self.name, self.service, self.run_id = name, service, run_id
        self.run: Run | None = None
        self.next = 0

    def start(self) -> None:
        self.run = execute_run.start(TENANT, self.run_id, self.name, self.service.tools)
        self.next = 0

    def step(self) -> None:
        """The next step, by the record as this worker knows it."""
        if self.run is None or self.next >= len(STEPS):
            return
        step: Step = getattr(execute_run, STEPS[self.next])
        try:
            self.run = step(self.run, self.service.tools)
        except ArchiveGone as error:
            self.run = execute_run.retry(self.run, error, self.service.tools)
        self.next += 1

    def fail(self) -> None:
        if self.run is not None:
            self.run = execute_run.fail(self.run, SigningFailed("no key"), self.service.tools)

    def retry(self) -> None:
        if self.run is not None:
            self.run = execute_run.retry(self.run, SigningFailed("no key"), self.service.tools)

    def look(self) -> None:
        """Read the record again, as a driver does between two steps."""
        if self.run is not None:
            self.run = execute_run.current(TENANT, self.run_id, self.run.attempt, self.service.tools)


ACTIONS = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["start", "look", "retry", "fail", *["step"] * 8])), max_size=24
)


def demand_forwards(before: Run, after: Run) -> None:
    assert after.version >= before.version
    assert after.attempt >= before.attempt
    assert after.events >= before.events
    assert set(before.done) <= set(after.done)
    if before.status in ENDED:
        assert after == before
    if before.archive is not None:
        assert after.archive == before.archive


def demand_whole_story(service: Service, run: Run) -> None:
    events = service.local.runs.events(run.id)
    assert [event.number for event in events] == list(range(1, run.events + 1))
    last = [event.number for event in events if event.type in LAST]
    assert last == ([run.events] if run.status in ENDED else [])
    starts = [event.data["attempt"] for event in events if event.type.value == "run.started"]
    assert starts == list(range(1, run.attempt + 1))


@given(actions=ACTIONS, cancel_at=st.none() | st.integers(0, 23), share=st.booleans())
@settings(max_examples=60)
def test_whatever_two_attempts_do_in_turns_the_record_moves_forwards_and_the_later_one_ends_it(
    service: Service, actions: list[tuple[bool, str]], cancel_at: int | None, *, share: bool
) -> None:
    if not share:
        shutil.rmtree(service.directory / "data" / "exports", ignore_errors=True)
    run = service.submit()
    workers = Attempt("one", service, run.id), Attempt("two", service, run.id)
    for number, (second, action) in enumerate(actions):
        before = service.run(run.id)
        actor = workers[second]
        if number == cancel_at and before.status not in ENDED:
            control_runs.cancel_run(TENANT, run.id, service.control_tools, by="someone")
            assert service.run(run.id).status is RunStatus.CANCELLED
            before = service.run(run.id)
        stale = actor.run is not None and actor.run.version != before.version
        try:
            getattr(actor, action)()
        except REFUSED:
            assert service.run(run.id).version == before.version
        after = service.run(run.id)
        demand_forwards(before, after)
        if stale and action not in ("start", "look"):
            assert after.version == before.version, f"{actor.name} has moved what it did not know"
    finished = finish(service, run.id)
    demand_whole_story(service, finished)
    if finished.status is RunStatus.SUCCEEDED:
        assert finished.export_id == reference(service).export_id
        assert finished.archive is not None
        assert service.local.artefacts.exists(finished.archive)


def finish(service: Service, run_id: str) -> Run:
    """Whatever state it is in, the next worker takes it to its end."""
    run = service.run(run_id)
    if run.status in ENDED:
        return run
    last = Attempt("last", service, run_id)
    last.start()
    while last.run is not None and last.run.status is RunStatus.RUNNING:
        last.step()
    found = service.run(run_id)
    assert (found.status, found.worker) == (RunStatus.SUCCEEDED, "last")
    return found


def reference(service: Service) -> Run:
    run = service.submit()
    return finish(service, run.id)
