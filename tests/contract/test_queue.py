"""The queue and its workers, on each database: real processes, real engine."""

from __future__ import annotations

import base64
import os
import pickle
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from stellaops.adapters.engine.cron import next_time
from stellaops.adapters.engine.rows import queue_of
from stellaops.adapters.sql.errors import StoreNotMigrated
from stellaops.authority.tenants import Tenant
from stellaops.bootstrap import now
from stellaops.exports.control_runs import approve_run, cancel_run
from stellaops.exports.events import EventType
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.profile import Gate
from stellaops.exports.run import Priority, Run, RunStatus
from stellaops.exports.run_export import pending, record_of
from tests.support.workers import Service, service, wait_for


# PostgreSQL is in the quick suite with `tests/chaos`, which does most of this at once.
@pytest.fixture(params=[pytest.param("postgresql", marks=pytest.mark.slow), "sqlite"])
def queue_service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service with a little evidence, on each database."""
    with ExitStack() as stack:
        url = None
        if request.param == "postgresql":
            server, template = request.getfixturevalue("postgres_template")
            url = server.url(stack.enter_context(server.database(template)))
        found = stack.enter_context(service(tmp_path, url))
        found.fill()
        yield found


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Service]:
    """The same on SQLite, for what does not differ."""
    with service(tmp_path) as found:
        found.fill()
        yield found


def types(stella: Service, run: Run) -> list[str]:
    return [event.type.value for event in stella.local.runs.events(run.id)]


def most_at_once(stella: Service, runs: list[Run]) -> int:
    """How many of some runs were running at the same moment, by their records."""
    moments = []
    for run in map(stella.run, runs):
        assert run.started_at is not None
        assert run.finished_at is not None
        moments += [(run.started_at, 1), (run.finished_at, -1)]
    now_running = highest = 0
    for _, change in sorted(moments):
        now_running += change
        highest = max(highest, now_running)
    return highest


def test_a_submitted_run_is_executed_by_a_worker(queue_service: Service) -> None:
    run = queue_service.submit()
    worker = queue_service.worker()
    found = queue_service.ended(run)
    assert (found.status, found.attempt, found.worker) == (RunStatus.SUCCEEDED, 1, worker.id)
    assert found.archive is not None
    assert queue_service.local.artefacts.exists(found.archive)
    seen = types(queue_service, run)
    assert (seen[0], seen[1], seen[-1]) == ("run.pending", "run.started", "run.succeeded")


def test_enqueuing_twice_is_once(queue_service: Service) -> None:
    run = queue_service.submit()
    for _ in range(3):
        queue_service.local.queue.enqueue(run)
    assert queue_service.local.queue.rows.live(run.id) == [f"{run.id}:0"]
    queue_service.worker()
    assert queue_service.ended(run).attempt == 1


def test_the_most_urgent_run_is_started_first(on_sqlite: Service) -> None:
    _limit(on_sqlite, 1)
    on_sqlite.local.tenants.add(Tenant("other", max_active_runs=1))
    wanted = [Priority.BULK, Priority.NORMAL, Priority.INTERACTIVE, Priority.CATCH_UP]
    runs = [on_sqlite.submit(priority=priority) for priority in wanted]
    on_sqlite.worker("--slots", "3")
    ended = [on_sqlite.ended(run) for run in runs]
    assert [run.priority for run in sorted(ended, key=lambda run: run.started_at or now())] == wanted[::-1]


def test_no_tenant_has_more_runs_at_once_than_it_may(queue_service: Service) -> None:
    limits = {"alpha": 1, "beta": 2}
    for tenant, most in limits.items():
        queue_service.local.tenants.add(Tenant(tenant, max_active_runs=most))
    runs = {tenant: [queue_service.submit(tenant=tenant) for _ in range(4)] for tenant in limits}
    for _ in range(2):
        queue_service.worker("--slots", "6", wait=False)
    for tenant, most in limits.items():
        for run in runs[tenant]:
            assert queue_service.ended(run).status is RunStatus.SUCCEEDED
        assert most_at_once(queue_service, runs[tenant]) <= most


def test_a_limit_can_be_changed_while_runs_wait(on_sqlite: Service) -> None:
    runs = [on_sqlite.submit() for _ in range(2)]
    _limit(on_sqlite, 0)
    on_sqlite.worker()
    time.sleep(1.5)
    assert [on_sqlite.run(run).status for run in runs] == [RunStatus.PENDING] * 2
    _limit(on_sqlite, 2)
    for run in runs:
        assert on_sqlite.ended(run).status is RunStatus.SUCCEEDED


def _limit(stella: Service, runs: int) -> None:
    # The tenant's own, to which workers bring the queue back; and at once.
    stella.local.tenants.change(Tenant("default", max_active_runs=runs))
    stella.local.queue.limit("default", runs)


def test_a_paused_queue_starts_nothing_until_it_is_resumed(queue_service: Service) -> None:
    queue = queue_service.local.queue
    queue_service.worker()
    queue.pause()
    queue.pause()
    time.sleep(0.3)
    run = queue_service.submit()
    queue_service.until(run, lambda found: found.waiting == "the queue is paused", 15)
    assert queue.status().paused
    assert queue.status().ready == {"default": 1}
    assert queue_service.run(run).attempt == 0
    queue.resume()
    assert queue_service.ended(run).status is RunStatus.SUCCEEDED
    assert queue.status().ready == {}


def test_a_cancelled_run_is_stopped_within_two_seconds_with_all_its_processes(queue_service: Service) -> None:
    queue_service.trivy("hang")
    worker = queue_service.worker()
    run = queue_service.submit("trivy:db")
    wait_for(lambda: bool(queue_service.hung_scanners()), 30, lambda: queue_service.logs)
    began = time.monotonic()
    cancel_run("default", run.id, queue_service.controls, by="test")
    wait_for(lambda: not queue_service.hung_scanners(), 2)
    assert time.monotonic() - began < 2
    assert queue_service.run(run).status is RunStatus.CANCELLED
    queue_service.trivy("none")
    assert queue_service.ended(queue_service.submit()).status is RunStatus.SUCCEEDED
    assert types(queue_service, run)[-1] == "run.cancelled"
    assert "Traceback" not in worker.log
    assert "dbos.dev" not in worker.log


def test_a_pending_run_that_is_cancelled_is_never_started(on_sqlite: Service) -> None:
    run = on_sqlite.submit()
    cancel_run("default", run.id, on_sqlite.controls, by="test")
    on_sqlite.worker()
    assert on_sqlite.ended(on_sqlite.submit()).status is RunStatus.SUCCEEDED
    assert on_sqlite.run(run).attempt == 0


def test_a_killed_worker_is_replaced_within_ten_seconds(queue_service: Service) -> None:
    queue_service.trivy("hang")
    first = queue_service.worker()
    run = queue_service.submit("trivy:db")
    wait_for(lambda: bool(queue_service.hung_scanners()), 30)
    second = queue_service.worker()
    time.sleep(3.5)  # who has just begun to live does not judge others yet
    first.send(signal.SIGKILL)
    killed = now()
    wait_for(lambda: not queue_service.hung_scanners(), 2)
    queue_service.trivy("none")
    found = queue_service.ended(run)
    assert (found.status, found.attempt, found.worker) == (RunStatus.SUCCEEDED, 2, second.id)
    starts = [e.at for e in queue_service.local.runs.events(run.id) if e.type is EventType.STARTED]
    assert len(starts) == 2
    assert starts[1] - killed < timedelta(seconds=10)
    assert [worker.id for worker in queue_service.local.queue.workers()] == [second.id]


def test_a_worker_that_is_asked_to_end_hands_over_within_seconds(queue_service: Service) -> None:
    queue_service.trivy("hang")
    first = queue_service.worker(STELLA_WORKER_GRACE_SECONDS="1")
    run = queue_service.submit("trivy:db")
    wait_for(lambda: bool(queue_service.hung_scanners()), 30)
    second = queue_service.worker()
    time.sleep(3.5)
    began = now()
    first.send(signal.SIGTERM)
    assert first.process.wait(10) == 0
    assert not queue_service.hung_scanners()
    queue_service.trivy("none")
    found = queue_service.ended(run)
    assert (found.status, found.attempt, found.worker) == (RunStatus.SUCCEEDED, 2, second.id)
    starts = [e.at for e in queue_service.local.runs.events(run.id) if e.type is EventType.STARTED]
    assert starts[1] - began < timedelta(seconds=5)


def test_a_worker_that_ends_with_nobody_else_leaves_its_runs_to_the_next(on_sqlite: Service) -> None:
    on_sqlite.trivy("hang")
    first = on_sqlite.worker(STELLA_WORKER_GRACE_SECONDS="1")
    run = on_sqlite.submit("trivy:db")
    wait_for(lambda: bool(on_sqlite.hung_scanners()), 30)
    first.send(signal.SIGTERM)
    assert first.process.wait(10) == 0
    on_sqlite.trivy("none")
    on_sqlite.worker()
    assert on_sqlite.ended(run).attempt == 2


def test_a_stopped_worker_that_comes_back_moves_nothing(queue_service: Service) -> None:
    queue_service.trivy("hang")
    first = queue_service.worker()
    run = queue_service.submit("trivy:db")
    wait_for(lambda: bool(queue_service.hung_scanners()), 30)
    second = queue_service.worker()
    time.sleep(3.5)
    first.send(signal.SIGSTOP)
    queue_service.until(run, lambda found: found.attempt == 2, 10)
    queue_service.trivy("none")
    wait_for(lambda: len(queue_service.hung_scanners()) > 0, 5)
    first.send(signal.SIGCONT)
    assert first.process.wait(10) == 75
    for pid in queue_service.hung_scanners():  # of the second attempt
        os.kill(pid, signal.SIGKILL)
    found = queue_service.ended(run)
    assert (found.status, found.attempt, found.worker) == (RunStatus.SUCCEEDED, 2, second.id)
    assert types(queue_service, run).count("run.succeeded") == 1


def test_what_another_system_fails_at_is_tried_again_after_a_while(on_sqlite: Service) -> None:
    on_sqlite.trivy("fail")
    on_sqlite.worker()
    run = on_sqlite.submit("trivy:db")
    waiting = on_sqlite.until(run, lambda found: found.attempt == 1 and found.waiting is not None)
    assert waiting.status is RunStatus.PENDING
    assert waiting.waiting is not None
    assert "the next one begins in 2 s" in waiting.waiting
    on_sqlite.trivy("none")
    found = on_sqlite.ended(run)
    assert (found.status, found.attempt, found.waiting) == (RunStatus.SUCCEEDED, 2, None)


def test_what_no_retry_mends_fails_at_once(on_sqlite: Service) -> None:
    on_sqlite.profile("nothing", selectors={"ecosystems": ["Go"]})
    on_sqlite.worker()
    found = on_sqlite.ended(on_sqlite.submit("nothing"))
    assert (found.status, found.attempt, found.error_code) == (RunStatus.FAILED, 1, "empty")


def test_a_run_that_takes_too_long_is_ended(on_sqlite: Service) -> None:
    on_sqlite.trivy("hang")
    on_sqlite.worker("--limit", "2")
    run = on_sqlite.submit("trivy:db")
    found = on_sqlite.ended(run)
    assert (found.status, found.attempt, found.error_code) == (RunStatus.FAILED, 1, "timeout")
    assert not on_sqlite.hung_scanners()


@pytest.mark.slow
def test_a_run_that_kills_its_process_three_times_is_set_aside(on_sqlite: Service) -> None:
    on_sqlite.trivy("die")
    on_sqlite.worker()
    run = on_sqlite.submit("trivy:db")
    assert on_sqlite.ended(on_sqlite.submit()).status is RunStatus.SUCCEEDED
    found = on_sqlite.ended(run, 60)
    assert (found.status, found.attempt, found.error_code) == (RunStatus.FAILED, 3, "adapter")
    assert "was lost in 3 attempts" in (found.error or "")


def test_a_held_run_takes_no_place_and_goes_on_when_it_is_approved(on_sqlite: Service) -> None:
    on_sqlite.local.tenants.change(Tenant("default", max_active_runs=1))
    on_sqlite.profile("careful", gate=Gate(max_source_age="1m", approve=True))
    with on_sqlite.local.evidence_engine.begin() as connection:
        connection.execute(text("UPDATE source SET checked_at = 0"))
    on_sqlite.worker()
    run = on_sqlite.submit("careful")
    on_sqlite.until(run, lambda found: found.status is RunStatus.HELD)
    assert on_sqlite.ended(on_sqlite.submit()).status is RunStatus.SUCCEEDED
    approve_run("default", run.id, on_sqlite.controls, by="test")
    found = on_sqlite.ended(run)
    assert (found.status, found.attempt) == (RunStatus.SUCCEEDED, 2)


def test_a_run_whose_submitter_died_before_enqueuing_it_is_found(on_sqlite: Service) -> None:
    local = on_sqlite.local
    tools = local.submit_tools
    recipe = find_profile("default", "json:raw", local.profiles)
    run = record_of(RunRequest("run-forgotten", "default", recipe, {}), now(), by="test")
    stored = tools.runs.add(run, [pending(run)])
    on_sqlite.worker()
    assert on_sqlite.ended(stored).status is RunStatus.SUCCEEDED


def test_a_schedule_submits_one_run_for_each_of_its_times(on_sqlite: Service) -> None:
    on_sqlite.profile("nightly", schedule="0 3 * * *")
    on_sqlite.worker()
    queue = on_sqlite.local.queue
    wait_for(lambda: bool(queue.client.list_schedules()), 10)
    (schedule,) = queue.client.list_schedules()
    assert (schedule["schedule"], schedule["cron_timezone"]) == ("0 3 * * *", "UTC")
    today = now().replace(hour=3, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=2), today - timedelta(days=1)]
    for _ in range(2):
        begin, end = days[0] - timedelta(hours=1), today - timedelta(hours=1)
        queue.client.backfill_schedule(schedule["schedule_name"], begin, end)
    wait_for(lambda: len(on_sqlite.local.runs.list("default")) == 2, 20, lambda: on_sqlite.logs)
    runs = [on_sqlite.ended(run) for run in on_sqlite.local.runs.list("default")]
    assert sorted(run.id[:20] for run in runs) == [f"run-{day:%Y%m%dt%H%M%S}-" for day in days]
    assert {run.submitted_by for run in runs} == {"schedule"}
    told = next_time(schedule["schedule"], days[0] - timedelta(hours=1))
    assert [told, next_time(schedule["schedule"], days[0])] == days, "what is told is when the engine does it"
    on_sqlite.local.profiles.delete("default", "nightly")
    wait_for(lambda: not queue.client.list_schedules(), 10)


def test_a_run_waits_in_the_queue_for_its_tenants_limit(on_sqlite: Service) -> None:
    on_sqlite.local.tenants.add(Tenant("fresh", max_active_runs=5))
    on_sqlite.submit(tenant="fresh")
    assert on_sqlite.local.queue.rows.waiting_in(["fresh"]) == {("fresh", queue_of(5))}


def test_workers_say_what_they_work_on(on_sqlite: Service) -> None:
    on_sqlite.trivy("hang")
    worker = on_sqlite.worker("--slots", "4")
    run = on_sqlite.submit("trivy:db")
    wait_for(lambda: bool(on_sqlite.hung_scanners()), 30)
    (found,) = on_sqlite.local.queue.workers()
    assert (found.id, found.state, found.slots, found.runs) == (worker.id, "running", 4, (run.id,))
    assert on_sqlite.local.queue.status().running == {"default": 1}


def test_values_in_the_form_of_pickle_are_not_read(on_sqlite: Service) -> None:
    run = on_sqlite.submit()
    mark = on_sqlite.place / "executed"
    bad = base64.b64encode(pickle.dumps(_Bomb(str(mark)))).decode()
    queue = on_sqlite.local.queue
    with queue.engine.begin() as connection:
        connection.execute(
            text("UPDATE workflow_status SET inputs = :bad, serialization = 'py_pickle'"),
            {"bad": bad},
        )
        if connection.execute(text("SELECT count(*) FROM workflow_input")).scalar():
            connection.execute(
                text("UPDATE workflow_input SET inputs = :bad"),
                {"bad": bad},
            )
    worker = on_sqlite.worker()
    wait_for(lambda: "pickled values are not read" in worker.log, 20, lambda: worker.log)
    assert on_sqlite.ended(on_sqlite.submit()).status is RunStatus.SUCCEEDED
    assert on_sqlite.run(run).attempt == 0
    assert not mark.exists()


class _Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_postgresql_without_the_tables_of_the_queue_says_what_to_do(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server, template = request.getfixturevalue("postgres_template")
    with server.database(template) as name, service(tmp_path, server.url(name)) as found:
        server.run("DROP SCHEMA dbos CASCADE", name)
        with pytest.raises(StoreNotMigrated, match="the tables of the queue") as caught:
            found.local.queue  # noqa: B018 - opening it is what is tested
        assert "stella db migrate" in caught.value.advice
        (store,) = found.local.stores.chosen(["service"])
        assert "the tables of the queue" in store.pending()
        store._engine.dispose()
