"""The steps of a run: what each leaves in the record and tells, what a later attempt goes on from, what is shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import convert

from stellaops.exports import execute_run
from stellaops.exports.building.contents import BUILDERS
from stellaops.exports.control_runs import cancel_run
from stellaops.exports.errors import (
    AdapterFailed,
    ArchiveGone,
    GateRefused,
    RunChanged,
    RunState,
    RunTimeout,
    SigningFailed,
    VerifyFailed,
)
from stellaops.exports.execute_run import STEPS
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.profile import Spec
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.run_export import is_local, run_export
from stellaops.exports.step_clock import VISIBLE
from tests.unit.exports.executing import TENANT, Service, document


@pytest.fixture
def service(tmp_path: Path) -> Service:
    found = Service(tmp_path)
    found.take(document(1), document(2))
    return found


def begin(service: Service, run: Run, worker: str = "w-1") -> Run:
    return execute_run.start(TENANT, run.id, worker, service.tools)


def steps(service: Service, run: Run, *names: str) -> Run:
    for name in names or STEPS:
        run = getattr(execute_run, name)(run, service.tools)
    return run


def to_end(service: Service, run: Run) -> Run:
    return steps(service, begin(service, run))


def test_a_run_goes_through_its_steps_and_tells_of_each(service: Service) -> None:
    run = to_end(service, service.submit())
    assert run == service.run(run.id)
    assert (run.status, run.attempt, run.worker, run.error_code) == (RunStatus.SUCCEEDED, 1, "w-1", None)
    assert run.done == ("plan", "build", "gate", "publish", "distribute")
    assert run.counts == {"ghsa": 2}
    (http,) = run.targets
    assert (http["target"], http["status"], http["reference"]) == (
        "http", "succeeded", f"artefacts:{run.export_id}/{run.archive_id}",
    )  # fmt: skip
    told = service.told(run.id)
    progress = [
        event.data["step"]
        for event in service.local.runs.events(run.id)
        if event.type.value == "run.progress"
    ]
    in_order = [step for step in VISIBLE if step in run.durations]
    assert progress == list(run.durations) == in_order
    assert {"plan", "collect", "build", "sign", "verify", "gate", "publish", "distribute"} <= set(progress)
    others = [each for each in told if each not in ("run.progress", "run.artifact_ready")]
    assert others == ["run.pending", "run.started", "run.verified", "run.distributed", "run.succeeded"]
    assert told.count("run.artifact_ready") == len(run.artifacts) > 3


def test_a_later_attempt_does_nothing_twice(service: Service) -> None:
    run = steps(service, begin(service, service.submit()), "plan", "build", "gate", "publish")
    before = len(service.told(run.id))
    again = begin(service, run, "w-2")
    assert (again.attempt, again.worker, again.archive) == (2, "w-2", run.archive)
    assert steps(service, again, "plan", "build", "gate", "publish") == again
    assert service.told(run.id)[before:] == ["run.started"]
    assert steps(service, again).status is RunStatus.SUCCEEDED


def test_a_snapshot_stays_pinned_whatever_is_imported_before_the_next_attempt(service: Service) -> None:
    run = steps(service, begin(service, service.submit()), "plan")
    service.take(document(1, summary="Changed"), document(3))
    again = steps(service, begin(service, run, "w-2"))
    assert (again.sequence, again.snapshot, again.counts) == (2, run.snapshot, {"ghsa": 2})
    assert to_end(service, service.submit()).sequence == 4


def test_a_stopped_process_keeps_no_staging_place_from_the_next_attempt(service: Service) -> None:
    run = steps(service, begin(service, service.submit()), "plan")
    with service.local.workspace.stage(f"{run.id}-{run.attempt}"):
        assert steps(service, begin(service, run, "w-2")).status is RunStatus.SUCCEEDED


def test_only_what_is_pending_or_running_can_be_begun(service: Service) -> None:
    run = to_end(service, service.submit())
    with pytest.raises(RunState, match="is succeeded"):
        begin(service, run)


def test_a_driver_learns_that_the_run_is_in_other_hands(service: Service) -> None:
    run = begin(service, service.submit())
    assert execute_run.current(TENANT, run.id, 1, service.tools) == run
    begin(service, run, "w-2")
    with pytest.raises(RunChanged):
        execute_run.current(TENANT, run.id, 1, service.tools)
    with pytest.raises(RunChanged):
        steps(service, run, "plan")


def test_an_archive_that_has_gone_is_built_again(service: Service) -> None:
    run = steps(service, begin(service, service.submit()), "plan", "build", "gate")
    assert run.archive is not None
    service.local.artefacts.delete(run.archive)
    with pytest.raises(ArchiveGone) as gone:
        steps(service, run, "publish")
    assert execute_run.is_worth_retrying(gone.value)
    pending = execute_run.retry(run, gone.value, service.tools, seconds=2)
    assert (pending.status, pending.worker) == (RunStatus.PENDING, None)
    assert "attempt 1 failed" in (pending.waiting or "")
    finished = to_end(service, pending)
    assert (finished.status, finished.archive, finished.waiting) == (RunStatus.SUCCEEDED, run.archive, None)


def test_a_failure_is_told_and_ends_the_run(service: Service) -> None:
    run = begin(service, service.submit())
    failed = execute_run.fail(run, SigningFailed("the key of tenant default cannot sign"), service.tools)
    assert (failed.status, failed.error_code) == (RunStatus.FAILED, "signing")
    last = service.local.runs.events(run.id)[-1]
    assert last.data == {
        "errorCode": "signing",
        "error": "the key of tenant default cannot sign",
        "attempt": 1,
    }
    unexpected = execute_run.fail(begin(service, service.submit()), KeyError("x"), service.tools)
    assert (unexpected.error_code, unexpected.error) == ("internal", "KeyError: 'x'")


# ---- sharing


def test_a_run_of_an_equal_plan_shares_the_archive_and_says_so(service: Service) -> None:
    first, second = to_end(service, service.submit()), to_end(service, service.submit())
    assert second.shared_from == first.id
    assert (second.archive, second.artifacts, second.plan_digest) == (
        first.archive,
        first.artifacts,
        first.plan_digest,
    )
    assert "build" not in second.durations
    assert second.durations.keys() >= {"plan", "collect", "verify", "gate", "publish"}
    told = service.local.runs.events(second.id)
    assert [event.data["sharedFrom"] for event in told if event.type.value == "run.succeeded"] == [first.id]
    assert second.to_wire()["sharedFrom"] == first.id
    third = to_end(service, service.submit())
    assert third.shared_from == second.id


def test_a_run_that_was_planned_before_an_equal_one_ended_shares_with_it_too(service: Service) -> None:
    first = begin(service, service.submit())
    second = steps(service, begin(service, service.submit()), "plan")
    assert second.shared_from is None
    first = steps(service, first)
    assert steps(service, second).shared_from == first.id


@pytest.mark.parametrize(
    ("change", "shares"),
    [
        ({}, True), ({"gate": {"maxShrink": "5%"}}, True), ({"distribution": ["http"]}, True),
        ({"signing": {"forms": ["jws"]}}, False), ({"include": ["advisories"]}, False),
        ({"compression": {"level": 3}}, False),
    ],
)  # fmt: skip
def test_what_of_a_profile_decides_the_archive_and_what_does_not(
    change: dict[str, Any],
    shares: bool,
    service: Service,
) -> None:
    service.profile()
    first = to_end(service, service.submit("mine"))
    made = convert({"kind": "json", "variant": "raw", **change}, Spec)
    service.profile(**{name: getattr(made, name) for name in change})
    second = to_end(service, service.submit("mine"))
    assert second.profile_revision == "r2"
    assert (second.shared_from == first.id) is shares


def test_other_selectors_a_later_snapshot_another_profile_and_another_key_do_not_share(
    service: Service,
) -> None:
    first = to_end(service, service.submit())
    service.profile("mine")
    runs = [to_end(service, service.submit(selectors={"ids": ["GHSA-0001-aaaa-aaaa"]}))]
    runs.append(to_end(service, service.submit("mine")))
    service.take(document(3))
    runs.append(to_end(service, service.submit()))
    assert [run.shared_from for run in runs] == [None, None, None]
    assert first.plan_digest not in {run.plan_digest for run in runs}


def test_an_archive_that_is_damaged_is_not_shared_but_made_again(service: Service) -> None:
    first = to_end(service, service.submit())
    assert first.archive is not None
    root = service.local.artefacts.local_root(first.archive)
    assert root is not None
    shard = next((root / "data/raw/advisories").iterdir())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    second = to_end(service, service.submit())
    assert (second.status, second.shared_from, second.archive) == (RunStatus.SUCCEEDED, None, first.archive)
    assert shard.read_bytes() == whole


# ---- without a queue


def request(service: Service, run_id: str, **more: Any) -> RunRequest:
    profile = service.profile("local", **more)
    return RunRequest(run_id, TENANT, profile, {})


def test_a_local_run_goes_the_same_steps_and_is_known_as_one(service: Service) -> None:
    run = run_export(request(service, "run-a"), service.tools, by="me")
    assert (run.status, run.submitted_by, run.attempt) == (RunStatus.SUCCEEDED, "me", 1)
    assert is_local(run)
    assert service.told("run-a")[:3] == ["run.pending", "run.started", "run.progress"]
    assert service.told("run-a")[-1] == "run.succeeded"
    assert not is_local(to_end(service, service.submit()))
    assert not is_local(service.submit())


def test_a_local_run_that_is_cancelled_stops_at_its_next_step(service: Service) -> None:
    seen: list[str] = []

    def progress(step: str) -> None:
        seen.append(step)
        if step == "build":
            cancel_run(TENANT, "run-a", service.control_tools, by="someone")

    with pytest.raises(RunChanged):
        run_export(request(service, "run-a"), service.tools, progress)
    assert seen[-1] == "build"
    assert (service.run("run-a").status, service.run("run-a").error) == (
        RunStatus.CANCELLED,
        "cancelled by someone",
    )
    assert service.told("run-a")[-1] == "run.cancelled"
    assert not list((service.directory / "data/exports").glob("*/*/export.json"))


def test_a_builder_that_breaks_is_the_runs_failure_and_says_what_broke(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setitem(BUILDERS, "json:raw", broken)
    run = begin(service, service.submit())
    with pytest.raises(
        AdapterFailed, match="building json:raw failed: ZeroDivisionError: by nothing"
    ) as broke:
        steps(service, run)
    assert execute_run.fail(service.run(run.id), broke.value, service.tools).error_code == "adapter"
    assert not execute_run.is_worth_retrying(broke.value)


def test_another_system_that_fails_is_worth_another_attempt_and_nothing_else_is() -> None:
    for error in (SigningFailed("x"), ArchiveGone("x"), GateRefused("an import into x is not finished")):
        assert execute_run.is_worth_retrying(error)
    for other in (
        VerifyFailed("x"),
        GateRefused("x", details=["smaller"]),
        RunChanged("x"),
        KeyError("x"),
        RunTimeout("x"),
    ):
        assert not execute_run.is_worth_retrying(other)
