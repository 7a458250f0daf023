"""The publish gate: what it finds, and whether the run is then held or fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from stellaops.adapters.sql.engine import writing
from stellaops.exports import execute_run
from stellaops.exports.control_runs import approve_run
from stellaops.exports.errors import BundleGone, GateRefused, InvalidProfile, RunState
from stellaops.exports.gate import Previous, objections
from stellaops.exports.manage_runs import archive_of
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.profile import Gate
from stellaops.exports.read_profile import read
from stellaops.exports.run import Artifact, Run, RunStatus
from stellaops.exports.run_export import go_on, run_export
from tests.unit.exports.executing import NOON, TENANT, Service, document


def run(counts: dict[str, int], size: int = 1000, kind: str = "json:raw") -> Run:
    return Run(
        "run-2", TENANT, "mine", "r1", kind, {}, RunStatus.RUNNING, NOON, counts=counts,
        artifacts=(Artifact("a", "a", "sha256:0", size),),
    )  # fmt: skip


SHRINK = Gate(max_shrink="20%")


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 100}, {"a": 100}, []),
        ({"a": 100}, {"a": 80}, []),
        ({"a": 100}, {"a": 79}, ["the records"]),
        ({"a": 100}, {"a": 500}, []),
        ({"a": 100}, {}, ["the records"]),
        ({"a": 1000, "b": 10}, {"a": 1000}, ["the records of b"]),
        ({"a": 1000, "b": 10}, {"a": 1000, "b": 7, "c": 90}, ["the records of b"]),
        ({"a": 50, "b": 50}, {"a": 1, "b": 50}, ["the records", "the records of a"]),
        ({}, {"a": 1}, []),
    ],
)
def test_a_run_that_holds_less_than_the_one_before_it_is_noticed_source_by_source(
    before: dict[str, int], after: dict[str, int], found: list[str]
) -> None:
    told = objections(SHRINK, run(after), Previous("run-1", before, 1000), {}, NOON)
    assert [each.partition(" went from ")[0] for each in told] == found
    assert all("in run run-1" in each and "20 % are allowed" in each for each in told)


def test_a_smaller_archive_is_noticed_but_for_deltas() -> None:
    previous = Previous("run-1", {"a": 5}, 1_000_000)
    (told,) = objections(SHRINK, run({"a": 5}, 700_000), previous, {}, NOON)
    assert told == (
        "the archive's bytes went from 1,000,000 in run run-1 to 700,000: 30.0 % less; 20 % are allowed"
    )
    assert objections(SHRINK, run({"a": 5}, 700_000, "mirror:delta"), previous, {}, NOON) == []


def test_nothing_may_be_lost_where_the_bound_is_zero() -> None:
    previous = Previous("run-1", {"a": 1_000_000}, 10)
    assert len(objections(Gate(max_shrink="0%"), run({"a": 999_999}), previous, {}, NOON)) == 1
    assert objections(Gate(max_shrink="0%"), run({"a": 1_000_000}), previous, {}, NOON) == []


def test_without_bounds_or_without_a_run_before_nothing_is_found() -> None:
    assert objections(Gate(), run({}), Previous("run-1", {"a": 9}, 9), {}, NOON) == []
    assert objections(SHRINK, run({"a": 1}), None, {}, NOON) == []


def test_sources_that_were_not_checked_for_too_long_are_noticed() -> None:
    bounds, selected = Gate(max_source_age="36h"), run({"a": 1, "b": 1, "c": 1, "d": 1})
    checked = {
        "a": NOON - timedelta(hours=36), "b": NOON - timedelta(hours=37), "c": NOON - timedelta(days=4), "d": None,
        "not selected": NOON - timedelta(days=400),
    }  # fmt: skip
    assert objections(bounds, selected, None, checked, NOON) == [
        "source b was last checked 37.0 hours ago; 36.0 hours are allowed",
        "source c was last checked 4.0 days ago; 36.0 hours are allowed",
        "source d has never been checked against its upstream",
    ]


@pytest.mark.parametrize(
    ("oldest", "age", "told"),
    [
        ("1m", timedelta(minutes=12), "12.0 minutes ago; 60 seconds are allowed"),
        ("90m", timedelta(hours=3), "3.0 hours ago; 90.0 minutes are allowed"),
        ("5m", timedelta(days=2), "2.0 days ago; 5.0 minutes are allowed"),
    ],
)
def test_short_bounds_are_told_in_units_that_show_them(oldest: str, age: timedelta, told: str) -> None:
    (found,) = objections(Gate(max_source_age=oldest), run({"a": 1}), None, {"a": NOON - age}, NOON)
    assert found == f"source a was last checked {told}"


# ---- in a run


@pytest.fixture
def service(tmp_path: Path) -> Service:
    found = Service(tmp_path)
    found.take(*map(document, range(10)))
    return found


def to_gate(service: Service, profile: str = "mine", **more: Any) -> Run:
    begun = execute_run.start(TENANT, service.submit(profile, **more).id, "w-1", service.tools)
    built = execute_run.build(execute_run.plan(begun, service.tools), service.tools)
    return execute_run.gate(built, service.tools)


def rest(service: Service, run: Run) -> Run:
    for step in (execute_run.publish, execute_run.distribute, execute_run.finish):
        run = step(run, service.tools)
    return run


def shrink(service: Service) -> None:
    service.take(*map(document, range(5)), prune=True)


def test_a_run_that_breaks_a_bound_fails_where_nobody_is_to_approve_it(service: Service) -> None:
    service.profile(gate=SHRINK)
    first = rest(service, to_gate(service))
    shrink(service)
    with pytest.raises(GateRefused) as refused:
        to_gate(service)
    assert "the records went from 10 in run run-1 to 5: 50.0 % less" in refused.value.what
    assert not execute_run.is_worth_retrying(refused.value)
    (failing,) = [each for each in service.local.runs.list(TENANT) if each.id != first.id]
    failed = execute_run.fail(failing, refused.value, service.tools)
    assert failed.error_code == "gate"


def test_a_held_run_takes_no_slot_and_its_bundle_cannot_be_reached_before_it_is_approved(
    service: Service,
) -> None:
    service.profile(gate=Gate(max_shrink="20%", approve=True))
    rest(service, to_gate(service))
    shrink(service)
    held = to_gate(service)
    assert (held.status, held.held[0][:11]) == (RunStatus.HELD, "the records")
    assert service.told(held.id)[-1] == "run.held"
    assert service.local.runs.count(TENANT, RunStatus.RUNNING) == 0
    with pytest.raises(BundleGone):
        archive_of(held, service.local.artefacts)
    assert archive_of(held, service.local.artefacts, held=True) == held.archive
    with pytest.raises(RunState):
        execute_run.start(TENANT, held.id, "w-2", service.tools)

    approved = approve_run(TENANT, held.id, service.control_tools, by="boss")
    assert (approved.status, approved.approved_by) == (RunStatus.PENDING, "boss")
    assert approve_run(TENANT, held.id, service.control_tools, by="other") == approved
    assert service.queue.enqueued[-2:] == [held.id, held.id]
    begun = execute_run.start(TENANT, held.id, "w-2", service.tools)
    assert begun.archive == held.archive
    again = execute_run.gate(
        execute_run.build(execute_run.plan(begun, service.tools), service.tools), service.tools
    )
    finished = rest(service, again)
    assert (finished.status, finished.archive) == (RunStatus.SUCCEEDED, held.archive)
    assert archive_of(finished, service.local.artefacts) == held.archive
    with pytest.raises(RunState):
        approve_run(TENANT, held.id, service.control_tools, by="boss")


def test_what_it_is_held_against_is_the_newest_run_of_the_same_recipe_that_succeeded(
    service: Service,
) -> None:
    service.profile(gate=SHRINK)
    rest(service, to_gate(service))
    # Other selectors, another profile: another series.
    assert to_gate(service, selectors={"ids": ["GHSA-0001-aaaa-aaaa"]}).held == ()
    service.profile("other", gate=SHRINK)
    shrink(service)
    assert to_gate(service, "other").held == ()


def test_a_replay_of_an_earlier_snapshot_is_not_held_against_later_ones(service: Service) -> None:
    service.profile(gate=SHRINK)
    first = rest(service, to_gate(service))
    service.take(*map(document, range(40)))
    rest(service, to_gate(service))
    assert to_gate(service, snapshot=first.sequence).status is RunStatus.RUNNING


def test_a_source_that_is_not_pulled_any_more_holds_the_run_back(service: Service) -> None:
    service.profile(gate=Gate(max_source_age="2d", approve=True))
    assert to_gate(service).held == ()
    tools = replace(service.tools, now=lambda: NOON + timedelta(days=3))
    begun = execute_run.start(TENANT, service.submit("mine").id, "w-1", tools)
    held = execute_run.gate(execute_run.build(execute_run.plan(begun, tools), tools), tools)
    assert held.status is RunStatus.HELD
    assert held.held[0].startswith("source ghsa was last checked 3.0 days ago")


def test_a_first_import_under_way_holds_back_what_selects_its_source_and_nothing_else(
    service: Service,
) -> None:
    service.take(document(50), source="other")
    with writing(service.local.evidence_engine) as connection:
        connection.execute(text("UPDATE job SET state = 'staging' WHERE source = 'other'"))
        connection.execute(text("UPDATE source SET complete = false WHERE name = 'other'"))
    with pytest.raises(GateRefused, match="an import into other is not finished") as refused:
        to_gate(service, "json:raw")
    assert execute_run.is_worth_retrying(refused.value), "it ends by itself"
    assert to_gate(service, "json:raw", selectors={"sources": ["ghsa"]}).status is RunStatus.RUNNING


def test_a_local_run_is_held_and_goes_on_when_it_is_approved(service: Service) -> None:
    recipe = service.profile(gate=Gate(max_shrink="20%", approve=True))
    assert run_export(RunRequest("run-a", TENANT, recipe, {}), service.tools).status is RunStatus.SUCCEEDED
    shrink(service)
    held = run_export(RunRequest("run-b", TENANT, recipe, {}), service.tools)
    assert held.status is RunStatus.HELD
    approved = approve_run(TENANT, "run-b", replace(service.control_tools, queue=None), by="me")
    finished = go_on(approved, service.tools)
    assert (finished.status, finished.approved_by, finished.archive) == (
        RunStatus.SUCCEEDED,
        "me",
        held.archive,
    )
    assert not list((service.directory / "data/exports/.staging").iterdir())


# ---- in a profile


def spec(**more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": "mine"},
        "spec": {"kind": "json", "variant": "raw", **more},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"gate": {"maxShrink": "101%"}}, "spec.gate.maxShrink: '101%' is no share"),
        ({"gate": {"maxShrink": "0.2"}}, "spec.gate.maxShrink: '0.2' is no share"),
        ({"gate": {"maxSourceAge": "soon"}}, "spec.gate.maxSourceAge: 'soon' is no duration"),
        ({"gate": {"approve": "yes"}}, "spec.gate.approve: Expected `bool`, got `str`"),
        ({"gate": {"maxAge": "1d"}}, "spec.gate.maxAge is not a field"),
        ({"distribution": ["ftp"]}, "spec.distribution: 'ftp' is not available; there is http, object, oci"),
        ({"distribution": [{"driver": "ftp", "required": True}]}, "spec.distribution: 'ftp' is not available"),
        ({"distribution": [{"driver": "oci", "name": "../x"}]}, "spec.distribution: the target's name '../x' must be"),
        ({"distribution": [{"driver": "oci", "name": "object"}]}, "'object' is no target of the driver oci"),
        ({"distribution": [{"driver": "http", "name": "edge"}]}, "'edge' is no target of the driver http"),
        ({"distribution": [{"driver": "http", "settings": {"a": 1}}]}, "spec.distribution: http takes no settings"),
        ({"distribution": ["oci", {"driver": "oci"}]}, "spec.distribution: 'oci' stands in it twice"),
        ({"distribution": [{"driver": "http", "url": "x"}]}, "spec.distribution: Object contains unknown field `url`"),
        ({"distribution": "http"}, "spec.distribution: Expected `array`, got `str`"),
    ],
)  # fmt: skip
def test_bounds_and_targets_that_cannot_be_are_refused(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidProfile) as refused:
        read(spec(**more))
    assert any(problem in each for each in refused.value.details), refused.value.details


def test_bounds_and_targets_come_back_as_they_were_written() -> None:
    written = {"gate": {"maxShrink": "20%", "maxSourceAge": "36h", "approve": True}, "distribution": ["http"]}
    found = read(spec(**written)).spec
    assert found.gate == Gate("20%", "36h", approve=True)
    assert found.distribution == ["http"]
