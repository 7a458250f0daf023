"""What the API keeps in the service store: answers by key, and what runs have counted."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from stellaops.adapters.sql import migrations
from stellaops.adapters.sql.engine import writing
from stellaops.adapters.sql.idempotency import KEPT, LEASE, Begun, Kept, SqlIdempotency
from stellaops.adapters.sql.metering import (
    BYTES,
    DURATION,
    FAILURES,
    PUSH,
    UNREACHED,
    VERIFY_FAILURES,
    SqlMetering,
)
from stellaops.adapters.sql.service import SqlRuns
from stellaops.adapters.sql.service_schema import run_t
from stellaops.adapters.sql.staging_rooms import FORGOTTEN, SqlStagingRooms, StagingRoom
from stellaops.adapters.sql.storage import SqlStorage, database_bytes
from stellaops.exports.events import Event, EventType
from stellaops.exports.retention.storage import used
from stellaops.exports.run import Artifact, Run, RunStatus
from tests.contract.stores import NOON, Place

_SECOND = timedelta(seconds=1)


@pytest.fixture
def answers(place: Place) -> SqlIdempotency:
    return SqlIdempotency(place.engine(migrations.SERVICE))


@pytest.fixture
def runs(place: Place) -> SqlRuns:
    return SqlRuns(place.engine(migrations.SERVICE))


@pytest.fixture
def metering(place: Place) -> SqlMetering:
    return SqlMetering(place.engine(migrations.SERVICE))


@pytest.fixture
def storage(place: Place) -> SqlStorage:
    return SqlStorage(place.engine(migrations.SERVICE))


def test_an_answer_is_kept_for_a_day(answers: SqlIdempotency) -> None:
    assert answers.begin("key", "request", "seed", NOON) == Begun("seed", "request", ours=True)
    kept = Kept(201, {"location": "/x"}, b'{"a": 1}\x00\xff')
    answers.finish("key", kept, NOON)
    found = answers.begin("key", "request", "other", NOON + KEPT - _SECOND)
    assert found == Begun("seed", "request", ours=False, kept=kept)
    assert answers.begin("key", "request", "other", NOON + KEPT) == Begun("other", "request", ours=True)


def test_a_request_is_worked_on_by_one_at_a_time(answers: SqlIdempotency) -> None:
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda number: answers.begin("key", "request", f"{number}", NOON), range(8)))
    (winner,) = (each for each in begun if each.ours)
    assert {each.seed for each in begun} == {winner.seed}


def test_a_request_whose_process_died_goes_to_the_next_who_asks(answers: SqlIdempotency) -> None:
    answers.begin("key", "request", "first", NOON)
    assert not answers.begin("key", "request", "second", NOON + LEASE - _SECOND).ours
    answers.renew("key", NOON + LEASE - _SECOND)
    assert not answers.begin("key", "request", "second", NOON + LEASE).ours
    with ThreadPoolExecutor(4) as pool:
        late = NOON + 2 * LEASE
        begun = list(pool.map(lambda number: answers.begin("key", "request", f"{number}", late), range(4)))
    assert [each.ours for each in begun].count(True) == 1
    assert {each.seed for each in begun} == {"first"}, "what is made from the seed is made once"


def test_another_request_never_takes_a_key(answers: SqlIdempotency) -> None:
    answers.begin("key", "request", "first", NOON)
    assert answers.begin("key", "other", "second", NOON + 2 * LEASE) == Begun("first", "request", ours=False)


def test_what_is_released_is_as_if_it_never_was(answers: SqlIdempotency) -> None:
    answers.begin("key", "request", "first", NOON)
    answers.release("key")
    assert answers.begin("key", "other", "second", NOON).ours
    answers.finish("key", Kept(200), NOON)
    answers.release("key")
    assert not answers.begin("key", "other", "third", NOON).ours


def test_what_is_over_goes(answers: SqlIdempotency) -> None:
    for number in range(5):
        answers.begin(f"old-{number}", "request", "seed", NOON)
        answers.finish(f"old-{number}", Kept(200), NOON)
    answers.begin("new", "request", "seed", NOON + KEPT)
    answers.finish("new", Kept(200), NOON + KEPT)
    assert answers.count() == 1


def _run(number: int = 0, **more: object) -> Run:
    found = Run(
        f"run-{number}", "default", "nightly", "r1", "json:raw", {}, RunStatus.RUNNING, NOON,
        started_at=NOON, finished_at=NOON + 45 * _SECOND, attempt=1, export_id="e", archive_id="a",
        artifacts=(Artifact("x", "x", "sha256:00", 1000),),
    )  # fmt: skip
    return replace(found, **more)  # type: ignore[arg-type]


def _end(runs: SqlRuns, run: Run, status: RunStatus, kind: EventType) -> Run:
    return runs.change(replace(runs.add(run, []), status=status), [Event(kind, datetime.now(UTC))])


def _numbers(metering: SqlMetering, name: str, **labels: str) -> Sequence[float]:
    return [
        each.value
        for each in metering.counted()
        if each.name == name and labels.items() <= each.labels.items()
    ]


def test_a_run_that_ends_is_counted_once(runs: SqlRuns, metering: SqlMetering) -> None:
    assert metering.counted() == []
    ended = _end(runs, _run(), RunStatus.SUCCEEDED, EventType.SUCCEEDED)
    again = runs.change(ended, [Event(EventType.DISTRIBUTED, NOON)])
    runs.delete(again.tenant, again.id)
    own = {"profile": "nightly", "profile_kind": "json:raw"}
    assert _numbers(metering, f"{DURATION}_count", **own) == [1]
    assert _numbers(metering, f"{DURATION}_sum", **own) == [45]
    assert _numbers(metering, f"{DURATION}_bucket", le="60.0", **own) == [1]
    assert _numbers(metering, f"{DURATION}_bucket", le="30.0", **own) == []
    assert _numbers(metering, BYTES, **own) == [1000]
    assert _numbers(metering, FAILURES) == []


def test_failures_are_counted_by_their_code(runs: SqlRuns, metering: SqlMetering) -> None:
    check = {"id": "V07", "name": "digests", "status": "failed", "detail": "…"}
    for number in range(3):
        failed = _run(number, error_code="verify", checks=(check, {"name": "trust", "status": "ok"}))
        _end(runs, failed, RunStatus.FAILED, EventType.FAILED)
    _end(runs, _run(3, error_code="cancelled"), RunStatus.CANCELLED, EventType.CANCELLED)
    assert _numbers(metering, FAILURES, error_code="verify", tenant="default") == [3]
    assert _numbers(metering, VERIFY_FAILURES, check="digests") == [3]
    assert _numbers(metering, VERIFY_FAILURES, check="trust") == []
    assert _numbers(metering, f"{DURATION}_count") == []


def test_each_delivery_is_timed_by_its_driver_whenever_it_happens(
    runs: SqlRuns, metering: SqlMetering
) -> None:
    def event(status: str, **more: object) -> Event:
        return Event(
            EventType.DISTRIBUTED, NOON, {"target": "edge", "driver": "oci", "status": status, **more}
        )

    run = runs.change(runs.add(_run(), []), [event("succeeded", seconds=2.5), event("failed", seconds=9.0)])
    run = runs.change(replace(run, status=RunStatus.SUCCEEDED), [Event(EventType.SUCCEEDED, NOON)])
    runs.change(run, [event("succeeded", seconds=0.5)])
    assert _numbers(metering, f"{PUSH}_count", driver="oci", profile="nightly") == [2]
    assert _numbers(metering, f"{PUSH}_sum", driver="oci") == [3.0]


def test_runs_that_end_at_once_are_all_counted(runs: SqlRuns, metering: SqlMetering) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: _end(runs, _run(n), RunStatus.SUCCEEDED, EventType.SUCCEEDED), range(24)))
    assert _numbers(metering, f"{DURATION}_count") == [24]


def test_deliveries_are_counted_by_their_driver_and_the_download_from_here_is_none(
    runs: SqlRuns, metering: SqlMetering
) -> None:
    def told(driver: str, status: str, seconds: float) -> Event:
        return Event(EventType.DISTRIBUTED, NOON, {"driver": driver, "status": status, "seconds": seconds})

    run = runs.add(_run(), [])
    run = runs.change(run, [told("http", "succeeded", 0), told("oci", "succeeded", 40)])
    runs.change(
        run, [told("oci", "failed", 3), told("object", "succeeded", 0.5), told("oci", "succeeded", 2)]
    )
    assert _numbers(metering, f"{PUSH}_count", driver="oci") == [2]
    assert _numbers(metering, f"{PUSH}_sum", driver="oci") == [42]
    assert _numbers(metering, f"{PUSH}_bucket", driver="oci", le="60.0") == [2]
    assert _numbers(metering, f"{PUSH}_count") == [1, 2]
    assert _numbers(metering, UNREACHED) == [1]


def test_a_run_that_succeeds_when_its_targets_are_back_says_nothing_of_how_long_runs_take(
    runs: SqlRuns, metering: SqlMetering
) -> None:
    run = _end(runs, _run(error_code="distribution"), RunStatus.FAILED, EventType.FAILED)
    late = Event(EventType.SUCCEEDED, NOON, {"late": True})
    runs.change(replace(run, status=RunStatus.SUCCEEDED, finished_at=NOON + timedelta(days=3)), [late])
    assert _numbers(metering, FAILURES, error_code="distribution") == [1]
    assert _numbers(metering, BYTES) == [1000]
    assert _numbers(metering, f"{DURATION}_count") == []


def test_bundles_are_added_up_by_tenant_store_and_profile_each_once(
    runs: SqlRuns, storage: SqlStorage
) -> None:
    edge = {"target": "edge", "driver": "oci", "status": "succeeded"}
    left = edge | {"removedAt": "2026-03-01T12:00:00Z"}
    lost = {"target": "away", "driver": "oci", "status": "failed"}
    for number in range(3):
        runs.add(_run(number, status=RunStatus.SUCCEEDED, targets=(edge, lost) if number else ()), [])
    runs.add(_run(3, export_id="other", profile="weekly", status=RunStatus.HELD), [])
    runs.add(_run(4, export_id="acme", tenant="acme", status=RunStatus.FAILED, error_code="gate"), [])
    for gone in (
        _run(5, export_id="gone", status=RunStatus.EXPIRED, removed_at=NOON, targets=(left,)),
        _run(6, export_id="gone-too", status=RunStatus.FAILED, removed_at=NOON),
        _run(7, export_id=None, archive_id=None),
    ):
        runs.add(gone, [])
    runs.add(_run(8, export_id="there", status=RunStatus.EXPIRED, removed_at=NOON, targets=(edge,)), [])
    found = [(each.tenant, each.store, each.profile, each.bytes, each.bundles) for each in storage.stored()]
    assert found == [
        ("acme", "artefacts", "nightly", 1000, 1),
        ("default", "artefacts", "nightly", 1000, 1),
        ("default", "artefacts", "weekly", 1000, 1),
        ("default", "edge", "nightly", 2000, 2),
    ]
    assert used(storage, "default") == 2000
    assert [each.tenant for each in storage.stored("acme")] == ["acme"]


def test_runs_that_a_release_without_the_column_wrote_are_looked_at(
    place: Place, runs: SqlRuns, storage: SqlStorage
) -> None:
    runs.add(_run(status=RunStatus.SUCCEEDED), [])
    runs.add(_run(1, status=RunStatus.EXPIRED, removed_at=NOON), [])
    with writing(place.engine(migrations.SERVICE)) as connection:
        connection.execute(update(run_t).values(keeps=None))
    assert used(storage, "default") == 1000


def test_the_size_of_a_store_is_told_by_its_database(place: Place) -> None:
    engine = place.engine(migrations.SERVICE)
    before = database_bytes(engine)
    assert before > 50_000
    store = SqlRuns(engine)
    store.add(_run(warnings=tuple(f"{number:x}" * 40 for number in range(1 << 14))), [])
    assert database_bytes(engine) > before


def test_machines_tell_of_their_disks_until_they_are_gone(place: Place) -> None:
    rooms = SqlStagingRooms(place.engine(migrations.SERVICE))
    rooms.note(StagingRoom("a", "/x", NOON, 100, 50, 5))
    rooms.note(StagingRoom("b", "/x", NOON, 100, 40, 0))
    rooms.note(StagingRoom("a", "/x", NOON + _SECOND, 100, 30, 6))
    assert [(each.host, each.free, each.staged) for each in rooms.all()] == [("a", 30, 6), ("b", 40, 0)]
    rooms.note(StagingRoom("a", "/x", NOON + FORGOTTEN + _SECOND, 100, 30, 6))
    assert [each.host for each in rooms.all()] == ["a"]


def test_heads_are_those_of_runs_that_are(runs: SqlRuns) -> None:
    run = runs.add(_run(), [Event(EventType.STARTED, NOON)] * 3)
    assert runs.heads([run.id, "nothing"]) == {run.id: (3, RunStatus.RUNNING)}
    assert runs.heads([]) == {}
    assert len(runs.heads([run.id, *(f"run-{number}" for number in range(1200))])) == 1
