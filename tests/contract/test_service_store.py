"""Profiles and records of runs, on each database."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, update

from stellaops.adapters.sql.engine import writing
from stellaops.adapters.sql.errors import StoreConflict
from stellaops.adapters.sql.migrations import SERVICE
from stellaops.adapters.sql.service import SqlProfiles, SqlRuns
from stellaops.adapters.sql.service_schema import run_t
from stellaops.exports.errors import RunChanged, RunQuotaExceeded
from stellaops.exports.events import Event, EventType
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.ports import RunFilter
from stellaops.exports.profile import Profile
from stellaops.exports.run import Archive, Artifact, Asked, Chain, Priority, Run, RunStatus
from tests.contract.stores import NOON, Place


@pytest.fixture
def engine(place: Place) -> Engine:
    return place.engine(SERVICE)


def profile(engine: Engine, number: int, **changes: Any) -> Profile:
    built_in = find_profile("default", "json:raw", SqlProfiles(engine))
    values: dict[str, Any] = {
        "name": "mine",
        "revision": f"r{number}",
        "labels": (("team", "a\x00b"),),
        "created_at": NOON,
    }
    return replace(built_in, **(values | {"created_by": "me", "reason": "because"} | changes))


def run(number: int, **changes: Any) -> Run:
    started = Run(
        id=f"run-{number}", tenant="default", profile="mine", profile_revision="r1", kind="json:raw",
        selectors={"ids": ["CVE-2024-1"]}, status=RunStatus.RUNNING, submitted_at=NOON.replace(minute=number),
    )  # fmt: skip
    return replace(started, **changes)


def told(number: int, **data: Any) -> Event:
    return Event(EventType.PROGRESS, NOON.replace(second=number), data)


def fill_service(engine: Engine) -> None:
    SqlProfiles(engine).add(profile(engine, 1))
    SqlProfiles(engine).add(profile(engine, 2, reason="änderung"))
    SqlRuns(engine).add(run(1), [told(1, text="änderung")])
    SqlRuns(engine).add(run(2, tenant="other"), [])


def service_content(engine: Engine) -> tuple[Any, ...]:
    store = SqlRuns(engine)
    return SqlProfiles(engine).history("default", "mine"), store.list("default"), store.events("run-1")


def test_revisions_of_a_profile_come_back_oldest_first(engine: Engine) -> None:
    first, second = profile(engine, 1), profile(engine, 2, reason="later")
    store = SqlProfiles(engine)
    for each in (first, second):
        store.add(each)
    assert store.history("default", "mine") == [first, second]
    assert store.history("other", "mine") == []
    assert list(store.names("default")) == ["mine"]


def test_a_deleted_profile_keeps_its_numbers(engine: Engine) -> None:
    store = SqlProfiles(engine)
    store.add(profile(engine, 1))
    store.delete("default", "mine")
    assert (list(store.names("default")), store.next_number("default", "mine")) == ([], 2)


def test_two_revisions_with_one_number_are_a_conflict(engine: Engine) -> None:
    store = SqlProfiles(engine)
    store.add(profile(engine, 1))
    with pytest.raises(StoreConflict):
        store.add(profile(engine, 1, reason="at the same moment"))


def test_names_are_listed_in_the_order_of_their_bytes(engine: Engine) -> None:
    store = SqlProfiles(engine)
    for name in ("b", "a-1", "a", "B", "a1"):
        store.add(profile(engine, 1, name=name))
    assert list(store.names("default")) == ["B", "a", "a-1", "a1", "b"]


def test_a_deleted_profile_is_still_there_for_the_runs_that_were_submitted_with_it(engine: Engine) -> None:
    store = SqlProfiles(engine)
    first = profile(engine, 1)
    store.add(first)
    store.delete("default", "mine")
    assert store.revision("default", "mine", "r1") == first
    assert store.revision("default", "mine", "r2") is None
    assert store.revision("other", "mine", "r1") is None


# ---- runs


FULL: dict[str, Any] = {
    "status": RunStatus.SUCCEEDED, "sequence": 7, "snapshot": "sha256:1", "export_id": "e", "archive_id": "a",
    "rerun_hash": "sha256:2", "error_code": "gate", "error": "why", "artifacts": (Artifact("a", "/a", "sha256:0", 5),),
    "signatures": ("s",), "durations": {"plan": 0.5}, "warnings": ("w",), "checks": ({"id": "V01"},),
    "finished_at": NOON, "replay_of": "run-0", "policy_snapshot": "sha256:3", "attempt": 3,
    "asked": Asked(6, True, "latest", "base", {"ids": ["x"]}), "priority": Priority.BULK, "submitted_by": "me",
    "started_at": NOON, "waiting": "for you", "held": ("smaller",), "approved_by": "you", "degraded": True,
    "targets": ({"target": "http"},), "plan_digest": "sha256:4", "worker": "w-1", "shared_from": "run-2",
    "done": ("plan",), "chain": Chain("mirror:full", "r0", 2, Archive("e", "a"), "run-3"), "counts": {"ghsa": 2},
    "expired": "too old", "abandoned": (Archive("e", "b"),), "removed_at": NOON,
    "traceparent": f"00-{1:032x}-{2:016x}-01",
}  # fmt: skip


def test_every_field_of_a_run_comes_back(engine: Engine) -> None:
    kept = SqlRuns(engine).add(run(1, **FULL), [])
    assert SqlRuns(engine).get("default", "run-1") == kept == run(1, **FULL, version=1)
    fields = {each.name for each in dataclasses.fields(Run)}
    first = {"id", "tenant", "profile", "profile_revision", "kind", "selectors", "submitted_at"}
    assert fields == set(FULL) | first | {"version", "events"}, "every field is under test"


def test_a_change_is_made_from_the_record_as_it_stands_or_refused(engine: Engine) -> None:
    store = SqlRuns(engine)
    first = store.add(run(1), [])
    second = store.change(replace(first, warnings=("one",)))
    with pytest.raises(RunChanged):
        store.change(replace(first, warnings=("two",)))
    assert store.get("default", "run-1") == second
    assert (second.version, second.warnings) == (2, ("one",))
    with pytest.raises(RunChanged):
        store.change(run(9, version=1))


def test_an_id_is_given_to_one_run(engine: Engine) -> None:
    store = SqlRuns(engine)
    store.add(run(1), [told(1)])
    with pytest.raises(StoreConflict):
        store.add(run(1, tenant="other"), [told(2)])
    assert len(store.events("run-1")) == 1


def test_events_are_numbered_without_gaps_in_the_order_of_the_changes(engine: Engine) -> None:
    store = SqlRuns(engine)
    first = store.add(run(1, attempt=1), [told(0), told(1)])
    store.tell("run-1", 1, [told(2, step="plan"), told(3)])
    second = store.change(replace(first, warnings=("x",)), [told(4)])
    store.tell("run-1", 1, [told(5)])
    found = store.events("run-1")
    assert [(event.number, event.at.second) for event in found] == [(n + 1, n) for n in range(6)]
    assert found[2].data == {"step": "plan"}
    assert [event.number for event in store.events("run-1", after=4)] == [5, 6]
    assert [event.number for event in store.events("run-1", after=1, limit=2)] == [2, 3]
    assert second.events == 5
    found_run = store.get("default", "run-1")
    assert found_run is not None
    assert (found_run.events, found_run.version) == (6, 2)


def test_what_is_told_of_another_attempt_or_of_a_run_that_does_not_run_is_refused(engine: Engine) -> None:
    store = SqlRuns(engine)
    running = store.add(run(1, attempt=2), [])
    with pytest.raises(RunChanged):
        store.tell("run-1", 1, [told(1)])
    store.change(replace(running, status=RunStatus.SUCCEEDED))
    with pytest.raises(RunChanged):
        store.tell("run-1", 2, [told(1)])
    with pytest.raises(RunChanged):
        store.tell("run-9", 1, [told(1)])
    assert store.events("run-1") == []


def test_a_refused_change_leaves_no_event(engine: Engine) -> None:
    store = SqlRuns(engine)
    first = store.add(run(1), [])
    store.change(first, [told(1)])
    with pytest.raises(RunChanged):
        store.change(first, [told(2)])
    assert [event.at.second for event in store.events("run-1")] == [1]


def test_many_at_once_leave_no_gap_and_no_double_number(engine: Engine) -> None:
    store = SqlRuns(engine)
    store.add(run(1, attempt=1), [])
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: store.tell("run-1", 1, [told(n), told(n)]), range(30)))
    assert [event.number for event in store.events("run-1")] == list(range(1, 61))


def test_of_many_changes_at_once_one_is_made(engine: Engine) -> None:
    store = SqlRuns(engine)
    first = store.add(run(1), [])

    def change(number: int) -> bool:
        try:
            store.change(replace(first, warnings=(str(number),)), [told(number)])
        except RunChanged:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(change, range(12)))
    (winner,) = [number for number, was_made in enumerate(made) if was_made]
    stored = store.get("default", "run-1")
    assert stored is not None
    assert stored.warnings == (str(winner),)
    assert [event.at.second for event in store.events("run-1")] == [winner]


def test_a_bound_of_pending_runs_is_exact_however_many_submit_at_once(engine: Engine) -> None:
    store = SqlRuns(engine)
    store.add(run(50, tenant="other", status=RunStatus.PENDING), [])

    def submit(number: int) -> bool:
        try:
            store.add(run(number, status=RunStatus.PENDING), [told(1)], most_pending=5)
        except RunQuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(submit, range(20)))
    assert made.count(True) == store.count("default", RunStatus.PENDING) == 5
    refused = made.index(False)
    assert store.get("default", f"run-{refused}") is None
    assert store.events(f"run-{refused}") == []


def test_runs_are_listed_newest_first_by_tenant_profile_and_status(engine: Engine) -> None:
    store = SqlRuns(engine)
    for each in (
        run(1),
        run(3, status=RunStatus.FAILED),
        run(2),
        run(4, profile="x"),
        run(5, tenant="other"),
    ):
        store.add(each, [])
    assert [each.id for each in store.list("default")] == ["run-4", "run-3", "run-2", "run-1"]
    assert [each.id for each in store.list("default", RunFilter("mine", "running"))] == ["run-2", "run-1"]
    assert store.get("default", "run-5") is None
    assert [each.id for each in store.unended([RunStatus.RUNNING])] == ["run-1", "run-2", "run-4", "run-5"]
    assert store.count("default", RunStatus.RUNNING) == 3


def test_pages_of_a_list_meet_without_gap_or_overlap_also_within_one_instant(engine: Engine) -> None:
    store = SqlRuns(engine)
    for number in range(7):
        store.add(run(number, submitted_at=NOON.replace(minute=number // 3)), [])
    seen: list[str] = []
    last: Run | None = None
    while page := store.list("default", before=last, limit=2):
        seen += [each.id for each in page]
        last = page[-1]
    assert seen == [f"run-{number}" for number in (6, 5, 4, 3, 2, 1, 0)]


def test_runs_of_an_equal_plan_are_found_in_their_tenant_when_they_have_succeeded(engine: Engine) -> None:
    store = SqlRuns(engine)
    plan: dict[str, Any] = {"plan_digest": "sha256:0", "status": RunStatus.SUCCEEDED}
    store.add(run(1, **plan), [])
    store.add(run(2, **plan), [])
    store.add(run(3, **(plan | {"status": RunStatus.FAILED})), [])
    store.add(run(4, **(plan | {"tenant": "other"})), [])
    store.add(run(5, **(plan | {"plan_digest": "sha256:1"})), [])
    assert [each.id for each in store.planned("default", "sha256:0")] == ["run-2", "run-1"]


def test_a_deleted_run_is_gone_with_its_events_for_its_tenant_alone(engine: Engine) -> None:
    store = SqlRuns(engine)
    store.add(run(1), [told(1)])
    store.delete("other", "run-1")
    assert store.get("default", "run-1") is not None
    assert store.events("run-1")
    store.delete("default", "run-1")
    assert store.get("default", "run-1") is None
    assert store.events("run-1") == []


def test_a_run_of_a_release_that_knows_no_versions_can_be_changed(engine: Engine) -> None:
    store = SqlRuns(engine)
    store.add(run(1), [])
    with writing(engine) as connection:
        nothing = {"version": None, "attempt": None, "events": None, "plan_digest": None}
        connection.execute(update(run_t).values(nothing))
    found = store.get("default", "run-1")
    assert found is not None
    assert (found.version, found.attempt, found.events) == (0, 0, 0)
    changed = store.change(replace(found, status=RunStatus.FAILED), [told(1)])
    assert (changed.version, changed.events) == (1, 1)
