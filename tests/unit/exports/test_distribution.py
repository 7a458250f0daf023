"""Bringing bundles to targets: what a failing one leaves, what is tried again, and that `latest` never goes back."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stellaops.core.errors import NotPermitted
from stellaops.exports import execute_run, manage_runs
from stellaops.exports.control_runs import cancel_run
from stellaops.exports.distribution import manage_targets
from stellaops.exports.distribution.deliver import LONGEST, TRIES
from stellaops.exports.distribution.distribute_run import distribute_run
from stellaops.exports.errors import (
    BundleGone,
    DistributionFailed,
    InvalidProfile,
    RunChanged,
    RunState,
    TargetNotFound,
    VerifyFailed,
)
from stellaops.exports.plan_run import RunRequest, Tools
from stellaops.exports.profile import Profile, Spec, Target, destinations
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.run_export import run_export
from stellaops.kit.verify import verify_bundle
from tests.support.targets import FakeTargets, contents
from tests.unit.exports.executing import NOON, TENANT, Service, document

EDGE, CORE = Target("object", "edge"), Target("oci", "core")


@dataclass
class Depot:
    """A service with targets in memory."""

    service: Service
    targets: FakeTargets = field(default_factory=FakeTargets)
    slept: list[float] = field(default_factory=list)

    @property
    def tools(self) -> Tools:
        tools = self.service.tools
        delivery = replace(
            tools.delivery,
            targets=self.targets,
            sleep=self.slept.append,
            chance=lambda: 0.5,
            now=self.service.now,
        )
        return replace(tools, delivery=delivery)

    def profile(self, *wanted: str | Target, name: str = "mine", **spec: Any) -> Profile:
        return self.service.profile(name, distribution=list(wanted), **spec)

    def begun(self, profile: str = "mine", **more: Any) -> Run:
        """A run that is built and published, and not distributed yet."""
        run = execute_run.start(TENANT, self.service.submit(profile, **more).id, "w-1", self.tools)
        for step in (execute_run.plan, execute_run.build, execute_run.gate, execute_run.publish):
            run = step(run, self.tools)
        return run

    def distributed(self, run: Run) -> Run:
        return execute_run.distribute(run, self.tools)

    def ended(self, profile: str = "mine", **more: Any) -> Run:
        return execute_run.finish(self.distributed(self.begun(profile, **more)), self.tools)

    def failed(self, profile: str = "mine") -> Run:
        """A run that failed because of a required target."""
        run = self.begun(profile)
        with pytest.raises(DistributionFailed) as error:
            self.distributed(run)
        return execute_run.fail(self.run(run.id), error.value, self.tools)

    def again(self, run: Run, target: str | None = None) -> Run:
        return distribute_run(TENANT, run.id, target, self.tools)

    def run(self, run_id: str) -> Run:
        return self.service.run(run_id)

    def told(self, run: Run, target: str) -> dict[str, Any]:
        return next(each for each in self.run(run.id).targets if each["target"] == target)


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    service = Service(tmp_path)
    service.take(document(1), document(2))
    return Depot(service)


def down(**more: Any) -> DistributionFailed:
    return DistributionFailed("edge does not answer", **more)


def test_a_bundle_is_brought_to_each_target_and_becomes_the_latest_there(depot: Depot) -> None:
    edge, core = depot.targets.add("edge"), depot.targets.add("core", driver="oci")
    depot.profile("http", EDGE, CORE)
    run = depot.ended()
    assert (run.status, run.degraded) == (RunStatus.SUCCEEDED, False)
    assert [each["target"] for each in run.targets] == ["http", "edge", "core"]
    archive = run.archive
    assert archive is not None
    root = depot.service.local.artefacts.local_root(archive)
    assert root is not None
    for place in (edge, core):
        told = depot.told(run, place.name)
        assert (told["status"], told["latest"], told["error"]) == ("succeeded", True, None)
        assert place.bundles[told["reference"]] == contents(root)
        assert place.moving["mine"] == (told["reference"], run.sequence)
        assert told["bytes"] == sum(map(len, contents(root).values()))
    assert depot.service.told(run.id).count("run.distributed") == 3


def test_a_target_that_fails_is_marked_and_the_others_have_the_bundle(depot: Depot) -> None:
    depot.targets.add("edge", said=[down() for _ in range(TRIES)])
    core = depot.targets.add("core", driver="oci")
    depot.profile(EDGE, CORE)
    run = depot.ended()
    assert (run.status, run.degraded, run.error_code) == (RunStatus.SUCCEEDED, True, None)
    told = depot.told(run, "edge")
    assert (told["status"], told["errorCode"]) == ("failed", "ERR_EXPORT_DISTRIBUTION")
    assert told["error"] == "edge does not answer"
    assert len(core.bundles) == 1


def test_a_failure_that_passes_is_tried_again_after_pauses_that_grow(depot: Depot) -> None:
    edge = depot.targets.add("edge", said=[down() for _ in range(TRIES - 1)])
    depot.profile(EDGE)
    assert not depot.ended().degraded
    assert len(edge.calls) == TRIES
    assert depot.slept == [1, 2, 4, 8]


def test_a_target_that_says_how_long_is_listened_to(depot: Depot) -> None:
    depot.targets.add("edge", said=[down(retry_after=30.0)])
    depot.profile(EDGE)
    assert not depot.ended().degraded
    assert depot.slept == [30.0]


@pytest.mark.parametrize(
    "error", [down(again=False), down(retry_after=LONGEST + 1), NotPermitted("may not write")], ids=str
)
def test_what_does_not_pass_by_itself_is_not_tried_again(depot: Depot, error: Exception) -> None:
    edge = depot.targets.add("edge", said=[error])
    depot.profile(EDGE)
    assert depot.ended().degraded
    assert (len(edge.calls), depot.slept) == (1, [])


def test_a_driver_s_own_mistake_is_told_without_its_words(depot: Depot) -> None:
    depot.targets.add("edge", said=[KeyError("password hunter2")])
    depot.profile(EDGE)
    run = depot.ended()
    told = depot.told(run, "edge")
    assert told["error"].startswith("the driver failed: KeyError in targets.py:")
    assert "hunter2" not in str(run)


def test_a_run_fails_that_cannot_reach_a_required_target_and_its_bundle_stays(depot: Depot) -> None:
    edge = depot.targets.add("edge", said=[down(again=False)])
    depot.profile(Target("object", "edge", required=True))
    run = depot.failed()
    assert (run.status, run.error_code) == (RunStatus.FAILED, "distribution")
    assert run.error == "target edge: edge does not answer"
    archive = manage_runs.archive_of(run, depot.service.local.artefacts)
    trusted, revoked = depot.tools.keys.trusted(TENANT)
    with depot.service.local.artefacts.opened(archive) as root:
        assert verify_bundle(root, trusted, revoked=revoked).verdict == "ok"
    whole = depot.again(run)
    assert (whole.status, whole.error_code, whole.error, whole.degraded) == (
        RunStatus.SUCCEEDED, None, None, False,
    )  # fmt: skip
    assert len(edge.bundles) == 1
    assert depot.service.told(run.id)[-3:] == ["run.distributed", "run.distributed", "run.succeeded"]


def test_a_run_stays_failed_until_it_has_reached_every_required_target(depot: Depot) -> None:
    for name in ("edge", "core"):
        depot.targets.add(name, said=[down(again=False)])
    depot.profile(Target("object", "edge", required=True), Target("object", "core", required=True))
    run = depot.failed()
    assert depot.again(run, "edge").status is RunStatus.FAILED
    assert depot.again(run, "core").status is RunStatus.SUCCEEDED


def test_a_run_that_failed_before_its_publication_is_not_distributed(depot: Depot) -> None:
    depot.targets.add("edge")
    depot.profile(EDGE)
    run = execute_run.start(TENANT, depot.service.submit("mine").id, "w-1", depot.tools)
    run = execute_run.build(execute_run.plan(run, depot.tools), depot.tools)
    failed = execute_run.fail(run, DistributionFailed("of something else"), depot.tools)
    with pytest.raises(RunState):
        depot.again(failed)
    with pytest.raises(BundleGone):
        manage_runs.archive_of(failed, depot.service.local.artefacts)


@pytest.mark.parametrize("again", [True, False])
def test_a_required_target_is_tried_by_later_attempts_where_that_may_help(depot: Depot, again: bool) -> None:
    depot.targets.add("edge", said=[down(retry_after=LONGEST + 1) if again else down(again=False)])
    depot.profile(Target("object", "edge", required=True))
    with pytest.raises(DistributionFailed) as error:
        depot.distributed(depot.begun())
    assert execute_run.is_worth_retrying(error.value) is again


def test_a_later_attempt_brings_only_what_is_missing(depot: Depot) -> None:
    edge = depot.targets.add("edge")
    core = depot.targets.add("core", said=[down(again=False)])
    depot.profile(EDGE, Target("object", "core", required=True))
    run = depot.begun()
    with pytest.raises(DistributionFailed):
        depot.distributed(run)
    again = execute_run.start(TENANT, run.id, "w-2", depot.tools)
    assert depot.distributed(again).done[-1] == "distribute"
    assert (len(edge.calls), len(core.calls)) == (1, 2)


def test_a_worker_that_dies_in_mid_push_leaves_the_target_to_the_next_one(depot: Depot) -> None:
    class Killed(BaseException):
        """Nothing catches it, as nothing catches SIGKILL."""

    def die() -> None:
        raise Killed

    edge, core = depot.targets.add("edge"), depot.targets.add("core", pause=die)
    depot.profile(EDGE, Target("object", "core"))
    run = depot.begun()
    with pytest.raises(Killed):
        depot.distributed(run)
    assert [each["status"] for each in depot.run(run.id).targets] == ["succeeded", "succeeded", "pending"]
    assert core.moves == []
    core.pause = lambda: None
    again = depot.distributed(execute_run.start(TENANT, run.id, "w-2", depot.tools))
    assert not again.degraded
    assert (len(edge.moves), len(core.moves)) == (1, 1)


def test_a_cancelled_run_moves_no_name_any_more(depot: Depot) -> None:
    edge = depot.targets.add("edge")
    depot.profile(EDGE)
    run = depot.begun()

    def cancel() -> None:
        cancel_run(TENANT, run.id, depot.service.control_tools, by="me")

    edge.pause = cancel
    with pytest.raises(RunChanged):
        depot.distributed(run)
    assert depot.run(run.id).status is RunStatus.CANCELLED
    assert edge.moves == []


def test_what_is_the_latest_never_goes_back(depot: Depot) -> None:
    edge = depot.targets.add("edge")
    depot.profile(EDGE)
    older = depot.begun()
    depot.service.take(document(3))
    newer = depot.ended()
    late = execute_run.finish(depot.distributed(older), depot.tools)
    assert (older.sequence, newer.sequence) == (2, 3)
    assert depot.told(late, "edge")["latest"] is False
    assert not late.degraded
    assert edge.moving["mine"][1] == 3
    assert edge.moves == [(depot.told(newer, "edge")["reference"], 3)]
    assert depot.told(depot.again(late), "edge")["latest"] is False
    assert depot.told(depot.again(newer), "edge")["latest"] is True


def test_what_is_newer_is_decided_for_each_target_and_profile(depot: Depot) -> None:
    edge, core = depot.targets.add("edge"), depot.targets.add("core")
    depot.profile(EDGE)
    depot.profile(EDGE, name="other")
    older = depot.begun("other")
    older_mine = depot.begun("mine")
    depot.service.take(document(3))
    depot.ended("mine")
    assert depot.told(depot.distributed(older), "edge")["latest"] is True
    depot.again(execute_run.finish(depot.distributed(older_mine), depot.tools), "core")
    assert [sequence for _, sequence in edge.moves] == [3, 2]
    assert [sequence for _, sequence in core.moves] == [2]


def test_of_runs_of_one_snapshot_the_one_submitted_last_is_the_newest(depot: Depot) -> None:
    edge = depot.targets.add("edge")
    depot.profile(EDGE)
    first = depot.begun()
    second = depot.ended()
    assert first.submitted_at < second.submitted_at
    assert depot.told(depot.distributed(first), "edge")["latest"] is False
    assert len(edge.moves) == 1


def test_what_was_narrowed_when_it_was_submitted_is_for_whoever_asked(depot: Depot) -> None:
    edge = depot.targets.add("edge")
    depot.profile(EDGE)
    whole = depot.ended()
    depot.service.take(document(3))
    narrow = depot.ended(selectors={"ids": ["GHSA-3333-3333-3333"]}, allow_empty=True)
    assert depot.told(whole, "edge")["latest"] is True
    assert depot.told(narrow, "edge")["latest"] is False
    assert depot.told(narrow, "edge")["status"] == "succeeded"
    assert len(edge.moves) == 1


def test_a_replay_goes_where_the_profile_goes_at_present_and_moves_nothing(depot: Depot) -> None:
    edge, core = depot.targets.add("edge"), depot.targets.add("core")
    depot.profile(EDGE)
    first = depot.ended()
    again = replace(depot.begun(), replay_of=first.id)
    again = depot.distributed(depot.tools.runs.change(again))
    assert depot.told(again, "edge")["latest"] is False
    depot.service.profile("mine", distribution=["http"])
    away = depot.distributed(depot.tools.runs.change(replace(depot.begun(), replay_of=first.id)))
    assert [each["target"] for each in away.targets] == ["http"]
    assert len(edge.moves) == 1
    assert core.moves == []


def test_a_process_that_died_before_names_moved_lets_nothing_older_past_it(depot: Depot) -> None:
    class Killed(BaseException):
        pass

    edge = depot.targets.add("edge")
    depot.profile(EDGE)
    older = depot.begun()
    depot.service.take(document(3))
    newer = depot.begun()

    class Dying(FakeTargets):
        def demand(self) -> None:
            if depot.tools.delivery.latest.of("edge", TENANT, "mine") is not None:
                raise Killed

    whole, depot.targets = depot.targets, Dying(depot.targets.places)
    with pytest.raises(Killed):
        depot.distributed(newer)
    depot.targets = whole
    assert depot.told(depot.distributed(older), "edge")["latest"] is False
    assert edge.moves == []
    depot.distributed(execute_run.start(TENANT, newer.id, "w-2", depot.tools))
    assert [sequence for _, sequence in edge.moves] == [3]


def test_a_target_that_has_something_newer_itself_has_not_failed(depot: Depot) -> None:
    edge = depot.targets.add("edge")

    def refuse() -> None:
        edge.moving["mine"] = ("fake://elsewhere", 99)

    edge.pause = refuse
    depot.profile(EDGE)
    run = depot.ended()
    assert (depot.told(run, "edge")["status"], depot.told(run, "edge")["latest"]) == ("succeeded", False)
    assert edge.moving["mine"][0] == "fake://elsewhere"


def test_who_lost_the_turn_moves_nothing(depot: Depot) -> None:
    edge = depot.targets.add("edge")
    depot.targets.lost = True
    depot.profile(EDGE)
    run = depot.ended()
    assert (run.degraded, edge.moves) == (True, [])
    assert depot.told(run, "edge")["error"] == "the turn was lost"


def test_repeating_sends_nothing_that_is_there(depot: Depot) -> None:
    depot.targets.add("edge")
    depot.profile(EDGE)
    run = depot.ended()
    again = depot.again(run)
    assert depot.told(again, "edge")["bytes"] == 0
    assert depot.told(again, "edge")["reference"] == depot.told(run, "edge")["reference"]


def test_a_profile_switched_to_http_frees_the_runs_that_a_target_held_up(depot: Depot) -> None:
    depot.targets.add("edge", said=[down() for _ in range(100)])
    depot.profile(Target("object", "edge", required=True))
    stuck = depot.failed()
    depot.profile("http")
    assert depot.ended().status is RunStatus.SUCCEEDED
    freed = depot.again(stuck)
    assert (freed.status, freed.degraded) == (RunStatus.SUCCEEDED, False)
    assert [each["target"] for each in freed.targets] == ["http"]


def test_a_target_that_failed_later_is_found_by_what_it_got_before(depot: Depot) -> None:
    edge = depot.targets.add("edge")
    depot.profile(EDGE)
    run = depot.ended()
    edge.said = [down(again=False)]
    again = depot.again(run)
    assert again.degraded
    assert depot.told(again, "edge")["reference"] == depot.told(run, "edge")["reference"]
    assert not depot.again(run).degraded


def test_any_target_of_the_tenant_may_be_named_for_a_run(depot: Depot) -> None:
    spare = depot.targets.add("spare")
    depot.profile("http")
    run = depot.ended()
    assert depot.told(depot.again(run, "spare"), "spare")["status"] == "succeeded"
    assert len(spare.bundles) == 1
    with pytest.raises(TargetNotFound, match="there is http, spare"):
        depot.again(run, "moon")


def test_a_damaged_bundle_is_not_sent(depot: Depot) -> None:
    edge = depot.targets.add("edge")
    depot.profile(EDGE)
    run = depot.begun()
    assert run.archive is not None
    root = depot.service.local.artefacts.local_root(run.archive)
    assert root is not None
    file = root / "export.json"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"ghsa", b"ghsb"))
    with pytest.raises(VerifyFailed, match=r"export\.json"):
        depot.distributed(run)
    file.write_bytes(whole)
    ended = execute_run.finish(depot.distributed(depot.run(run.id)), depot.tools)
    (root / "signatures/export.sig").write_bytes(b"bm9uZQ==")
    calls = len(edge.calls)
    with pytest.raises(VerifyFailed):
        depot.again(ended)
    assert len(edge.calls) == calls
    shutil.rmtree(root)
    with pytest.raises(BundleGone):
        depot.again(ended)


def test_settings_for_a_target_that_it_does_not_know_fail_it_alone(depot: Depot) -> None:
    depot.targets.add("edge")
    depot.profile(Target("object", "edge", settings={"size": 3}), Target("oci", "edge2"))
    depot.targets.add("edge2", driver="object")
    run = depot.ended()
    assert "'size' is not a setting" in depot.told(run, "edge")["error"]
    assert "its driver is object, not oci" in depot.told(run, "edge2")["error"]


def test_profiles_are_checked_against_the_targets_there_are(depot: Depot) -> None:
    depot.targets.add("edge")

    def problems(*wanted: str | Target) -> tuple[str, ...]:
        try:
            spec = Spec("json", "raw", distribution=list(wanted))
            manage_targets.check_destinations(TENANT, spec, depot.targets)
        except InvalidProfile as error:
            return error.details
        return ()

    assert problems("http", Target("object", "edge", settings={"colour": "red"})) == ()
    assert any("there is no target 'moon'" in each for each in problems(Target("oci", "moon")))
    assert any(
        "'size' is not a setting" in each for each in problems(Target("object", "edge", settings={"size": 1}))
    )
    assert any("not oci" in each for each in problems(Target("oci", "edge")))


def test_a_plain_word_is_a_driver_and_the_name_of_its_target() -> None:
    found = destinations(Spec("json", "raw", distribution=["oci", Target("object", "far", required=True)]))
    assert [(each.name, each.driver, each.required) for each in found] == [
        ("http", "http", False),
        ("oci", "oci", False),
        ("far", "object", True),
    ]


def test_a_run_without_a_queue_fails_with_what_it_reached_in_its_record(depot: Depot) -> None:
    depot.targets.add("edge", said=[down(again=False)])
    core = depot.targets.add("core")
    profile = depot.profile(Target("object", "core"), Target("object", "edge", required=True))
    with pytest.raises(DistributionFailed, match="edge does not answer"):
        run_export(RunRequest("run-a", TENANT, profile, {}), depot.tools)
    run = depot.run("run-a")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "distribution")
    assert depot.told(run, "core")["status"] == "succeeded"
    assert len(core.moves) == 1
    assert depot.again(run).status is RunStatus.SUCCEEDED


def test_a_process_that_died_while_it_distributed_leaves_a_bundle_that_can_be_distributed(
    depot: Depot,
) -> None:
    depot.targets.add("edge")
    depot.profile(EDGE)
    run = depot.begun()
    local = depot.service.local
    local.runs.change(replace(run, worker=f"local:{socket.gethostname()}:1"))
    manage_runs.close_interrupted(TENANT, local.runs, local.workspace, NOON + timedelta(hours=1))
    closed = depot.run(run.id)
    assert (closed.status, closed.error_code) == (RunStatus.FAILED, "distribution")
    assert depot.again(closed).status is RunStatus.SUCCEEDED


def test_targets_are_listed_with_what_is_the_latest_there(depot: Depot) -> None:
    depot.targets.add("edge")
    depot.profile(EDGE)
    run = depot.ended()
    delivery = depot.tools.delivery
    tools = replace(depot.service.local.verify_tools, targets=delivery.targets, latest=delivery.latest)
    http, edge = (each.to_wire() for each in manage_targets.list_targets(TENANT, tools))
    assert (http["name"], http["driver"], edge["name"]) == ("http", "http", "edge")
    for target in (http, edge):
        (latest,) = target["latest"]
        assert (latest["runId"], latest["profile"], latest["sequence"]) == (run.id, "mine", 2)
    assert http["latest"][0]["reference"] == f"artefacts:{run.export_id}/{run.archive_id}"


def test_a_target_is_tried_and_says_what_is_wrong(depot: Depot) -> None:
    edge = depot.targets.add("edge")
    assert manage_targets.test_target(TENANT, "edge", depot.tools.delivery)["status"] == "ok"
    edge.said = [down()]
    told = manage_targets.test_target(TENANT, "edge", depot.tools.delivery)
    assert (told["status"], told["detail"], told["errorCode"]) == (
        "failed", "edge does not answer", "ERR_EXPORT_DISTRIBUTION",
    )  # fmt: skip
    with pytest.raises(TargetNotFound):
        manage_targets.test_target(TENANT, "moon", depot.tools.delivery)


def test_progress_of_a_delivery_is_told_now_and_then(depot: Depot) -> None:
    depot.targets.add("edge")
    depot.profile(EDGE)
    run = depot.ended()
    inside = [
        event.data
        for event in depot.service.local.runs.events(run.id)
        if event.type.value == "run.progress" and "what" in event.data
    ]
    assert [each["what"] for each in inside] == ["sent", "pointing"], "one of many files, within a moment"
