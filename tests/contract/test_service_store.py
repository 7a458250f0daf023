"""Profiles and records of runs, on each database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from stellaops.adapters.sql.errors import StoreConflict
from stellaops.adapters.sql.migrations import SERVICE
from stellaops.adapters.sql.service import SqlProfiles, SqlRuns
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.profile import Profile
from stellaops.exports.run import Artifact, Run, RunStatus
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


def fill_service(engine: Engine) -> None:
    SqlProfiles(engine).add(profile(engine, 1))
    SqlProfiles(engine).add(profile(engine, 2, reason="änderung"))
    SqlRuns(engine).save(run(1))
    SqlRuns(engine).save(run(2, tenant="other"))


def service_content(engine: Engine) -> tuple[Any, Any]:
    return SqlProfiles(engine).history("default", "mine"), SqlRuns(engine).list("default")


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


def test_a_run_is_written_over_its_earlier_record(engine: Engine) -> None:
    store = SqlRuns(engine)
    store.save(run(1))
    ended = run(
        1, status=RunStatus.SUCCEEDED, artifacts=(Artifact("a", "/a", "sha256:0", 5),), durations={"plan": 0.5},
        finished_at=NOON, warnings=("w",),
    )  # fmt: skip
    store.save(ended)
    assert store.get("default", "run-1") == ended
    assert store.list("default") == [ended]


def test_runs_are_listed_newest_first_by_tenant_profile_and_status(engine: Engine) -> None:
    store = SqlRuns(engine)
    for each in (
        run(1),
        run(3, status=RunStatus.FAILED),
        run(2),
        run(4, profile="x"),
        run(5, tenant="other"),
    ):
        store.save(each)
    assert [each.id for each in store.list("default")] == ["run-4", "run-3", "run-2", "run-1"]
    assert [each.id for each in store.list("default", "mine", "running")] == ["run-2", "run-1"]
    assert store.get("default", "run-5") is None


def test_a_deleted_run_is_gone_for_its_tenant_alone(engine: Engine) -> None:
    store = SqlRuns(engine)
    store.save(run(1))
    store.delete("other", "run-1")
    assert store.get("default", "run-1") is not None
    store.delete("default", "run-1")
    assert store.get("default", "run-1") is None
