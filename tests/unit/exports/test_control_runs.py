"""Runs as they are submitted to a queue, and what becomes of them: quotas, cancel, replay, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stellaops.exports import control_runs, execute_run
from stellaops.exports.control_runs import Replay, submit_replay
from stellaops.exports.errors import (
    InvalidSelector,
    PolicyNotApplied,
    PolicySnapshotRequired,
    ProfileNotFound,
    RunNotFound,
    RunQuotaExceeded,
    RunState,
    SnapshotUnknown,
)
from stellaops.exports.execute_run import STEPS
from stellaops.exports.plan_run import request_of
from stellaops.exports.ports import RunLimits
from stellaops.exports.run import Priority, Run, RunStatus
from tests.unit.exports.executing import TENANT, Service, document


@pytest.fixture
def service(tmp_path: Path) -> Service:
    found = Service(tmp_path)
    found.take(document(1), document(2))
    return found


def to_end(service: Service, run: Run) -> Run:
    run = execute_run.start(TENANT, run.id, "w-1", service.tools)
    for step in STEPS:
        run = getattr(execute_run, step)(run, service.tools)
    return run


# ---- submit


def test_a_submission_is_a_pending_run_in_the_queue(service: Service) -> None:
    run = service.submit(selectors={"ids": ["CVE-1"]}, priority=Priority.CATCH_UP, by="client-1", snapshot=1)
    assert run == service.run(run.id)
    assert (run.status, run.priority, run.submitted_by) == (RunStatus.PENDING, Priority.CATCH_UP, "client-1")
    assert (run.selectors, run.asked.selectors, run.asked.sequence) == (
        {"ids": ["CVE-1"]},
        {"ids": ["CVE-1"]},
        1,
    )
    assert service.queue.enqueued == [run.id]
    (event,) = service.local.runs.events(run.id)
    assert event.data == {"profile": "json:raw", "priority": "catch-up", "by": "client-1"}


@pytest.mark.parametrize(
    ("profile", "more", "error"),
    [
        ("nobody", {}, ProfileNotFound),
        ("json:raw", {"selectors": {"colour": "red"}}, InvalidSelector),
        ("json:raw", {"selectors": {"tenants": ["other"]}}, InvalidSelector),
        ("json:raw", {"snapshot": 3}, SnapshotUnknown),
        ("json:raw", {"snapshot": -1}, SnapshotUnknown),
        ("json:raw", {"policy_snapshot": "latest"}, PolicyNotApplied),
        ("strict", {}, PolicySnapshotRequired),
    ],
)
def test_what_can_be_seen_to_be_wrong_makes_no_run(
    profile: str, more: dict[str, Any], error: type[Exception], service: Service
) -> None:
    service.profile("strict", policy_snapshot_mode="required")
    with pytest.raises(error):
        service.submit(profile, **more)
    assert service.local.runs.list(TENANT) == []
    assert service.queue.enqueued == []


def test_a_quota_of_zero_closes_submissions_and_says_when_to_ask_again(service: Service) -> None:
    service.limit = RunLimits(max_active_runs=0)
    with pytest.raises(RunQuotaExceeded, match="max_active_runs is 0") as refused:
        service.submit()
    assert (refused.value.limit, refused.value.remaining) == (0, 0)
    assert refused.value.reset > 0
    assert service.local.runs.list(TENANT) == []


def test_a_full_queue_takes_no_more_until_a_run_has_begun(service: Service) -> None:
    service.limit = RunLimits(max_active_runs=1, max_queued_runs=2)
    first, _ = service.submit(), service.submit()
    with pytest.raises(RunQuotaExceeded, match="2 runs waiting") as refused:
        service.submit()
    assert refused.value.limit == 2
    execute_run.start(TENANT, first.id, "w-1", service.tools)
    service.submit()


def test_a_run_is_executed_by_its_profile_as_it_was_when_it_was_submitted(service: Service) -> None:
    service.profile(selectors={"ids": ["GHSA-0001-aaaa-aaaa"]})
    run = service.submit("mine")
    service.profile(selectors={})
    service.local.profiles.delete(TENANT, "mine")
    finished = to_end(service, run)
    assert (finished.profile_revision, finished.counts) == ("r1", {"ghsa": 1})
    assert finished.selectors == {"ids": ["GHSA-0001-aaaa-aaaa"]}


def test_a_request_is_built_again_from_its_record(service: Service) -> None:
    service.profile(selectors={"severityAtLeast": "high"})
    run = service.submit("mine", selectors={"ids": ["GHSA-0001-aaaa-aaaa"]}, allow_empty=True, base="latest")
    request = request_of(run, service.local.profiles)
    assert (request.run_id, request.profile.revision, request.allow_empty, request.base) == (
        run.id, "r1", True, "latest",
    )  # fmt: skip
    assert request.selectors == run.selectors == {"ids": ["GHSA-0001-aaaa-aaaa"], "severityAtLeast": "high"}
    assert request.profile.spec.selectors == {}
    assert request.sequence is None
    pinned = execute_run.plan(execute_run.start(TENANT, run.id, "w", service.tools), service.tools)
    assert request_of(pinned, service.local.profiles).sequence == 2


# ---- cancel


def test_a_cancelled_run_has_ended_and_whoever_works_on_it_is_stopped(service: Service) -> None:
    run = execute_run.start(TENANT, service.submit().id, "w-1", service.tools)
    cancelled = control_runs.cancel_run(TENANT, run.id, service.control_tools, by="me")
    assert (cancelled.status, cancelled.error_code, cancelled.error) == (
        RunStatus.CANCELLED, "cancelled", "cancelled by me",
    )  # fmt: skip
    assert cancelled.finished_at is not None
    assert service.queue.cancelled == [run.id]
    assert service.told(run.id)[-1] == "run.cancelled"
    assert control_runs.cancel_run(TENANT, run.id, service.control_tools, by="me") == cancelled
    assert service.told(run.id).count("run.cancelled") == 1


def test_what_has_ended_cannot_be_cancelled_and_what_is_another_tenants_is_not_found(
    service: Service,
) -> None:
    run = to_end(service, service.submit())
    with pytest.raises(RunState, match="succeeded"):
        control_runs.cancel_run(TENANT, run.id, service.control_tools, by="me")
    for call in (control_runs.cancel_run, control_runs.approve_run):
        with pytest.raises(RunNotFound):
            call("rival", run.id, service.control_tools, by="me")
    with pytest.raises(RunNotFound):
        submit_replay(Replay("rival", run.id), service.submit_tools)
    assert service.run(run.id) == run


# ---- replay


def test_a_replay_is_the_same_run_again(service: Service) -> None:
    origin = to_end(service, service.submit(priority=Priority.BULK))
    service.take(document(3))
    again = submit_replay(Replay(TENANT, origin.id, by="me"), service.submit_tools)
    assert (again.replay_of, again.priority, again.asked.sequence) == (origin.id, Priority.BULK, 2)
    assert to_end(service, again).shared_from == origin.id
    newest = submit_replay(Replay(TENANT, origin.id, latest=True), service.submit_tools)
    assert to_end(service, newest).counts == {"ghsa": 3}


def test_a_replay_by_a_corrected_clone_takes_what_was_asked_for_and_the_clones_own_selectors(
    service: Service,
) -> None:
    service.profile(selectors={"sources": ["nobody"]})
    wrong = service.submit("mine", selectors={"ids": ["GHSA-0001-aaaa-aaaa"]})
    service.profile("corrected", selectors={"sources": ["ghsa"]})
    again = submit_replay(Replay(TENANT, wrong.id, profile="corrected"), service.submit_tools)
    assert (again.profile, again.replay_of) == ("corrected", wrong.id)
    assert again.selectors == {"ids": ["GHSA-0001-aaaa-aaaa"], "sources": ["ghsa"]}
    assert to_end(service, again).counts == {"ghsa": 1}


def test_a_replay_may_say_that_nothing_is_meant(service: Service) -> None:
    origin = service.submit(selectors={"sources": ["nobody"]})
    assert not submit_replay(Replay(TENANT, origin.id), service.submit_tools).asked.allow_empty
    meant = submit_replay(Replay(TENANT, origin.id, allow_empty=True), service.submit_tools)
    assert to_end(service, meant).status is RunStatus.SUCCEEDED


# ---- delete


def test_a_run_is_deleted_with_its_events_and_the_bundle_that_no_other_run_has(service: Service) -> None:
    first, second = to_end(service, service.submit()), to_end(service, service.submit())
    assert first.archive == second.archive
    assert first.archive is not None
    assert control_runs.delete_run(first, service.control_tools) == [f"run {first.id}"]
    assert service.local.artefacts.exists(first.archive)
    assert service.local.runs.events(first.id) == []
    removed = control_runs.removed_with(second, service.control_tools)
    assert removed == [f"run {second.id}", f"bundle {second.export_id}/{second.archive_id}"]
    assert control_runs.delete_run(second, service.control_tools) == removed
    assert not service.local.artefacts.exists(first.archive)


def test_a_run_that_has_not_ended_is_not_deleted(service: Service) -> None:
    run = service.submit()
    with pytest.raises(RunState, match="cancel it before"):
        control_runs.delete_run(run, service.control_tools)
    assert service.run(run.id) == run
