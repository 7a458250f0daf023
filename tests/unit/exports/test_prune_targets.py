"""Expired bundles go from targets too: not what their newest is, and not what another run has there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stellaops.authority.manage_keys import create_key
from stellaops.core.errors import DependencyFailed, StellaError
from stellaops.exports import control_runs
from stellaops.exports.control_runs import ControlTools
from stellaops.exports.distribution.distribute_run import distribute_run
from stellaops.exports.errors import RunKept
from stellaops.exports.plan_run import Tools
from stellaops.exports.profile import Target
from stellaops.exports.resign_exports import ResignTools, resign_exports
from stellaops.exports.retention.prune_exports import RetentionTools
from stellaops.exports.retention.report import Report
from stellaops.exports.run import Run, RunStatus
from tests.support.targets import FakePlace, FakeTargets
from tests.unit.exports.retaining import TENANT, Keeper, document


class Bringer(Keeper):
    """Whose bundles are brought to targets in memory."""

    fakes = FakeTargets()

    @property
    def tools(self) -> Tools:
        found = super().tools
        return replace(
            found,
            delivery=replace(found.delivery, targets=self.fakes, now=self.now, sleep=lambda seconds: None),
        )

    @property
    def control_tools(self) -> ControlTools:
        return replace(super().control_tools, targets=self.fakes)

    @property
    def retention(self) -> RetentionTools:
        return replace(super().retention, targets=self.fakes)


@pytest.fixture
def keeper(tmp_path: Path) -> Bringer:
    found = Bringer(tmp_path)
    found.fakes = FakeTargets()
    found.take(document(1), document(2))
    return found


def profile(keeper: Bringer, **more: Any) -> FakePlace:
    place = keeper.fakes.add("edge", **more)
    keeper.profile("mine", distribution=[Target("object", "edge")])
    return place


def make(keeper: Bringer) -> Run:
    keeper.day += 1
    keeper.take(document(1, summary=f"Of day {keeper.day}"))
    return keeper.make("mine")


def there(place: FakePlace) -> set[str]:
    return {reference.rpartition("/")[2] for reference in place.bundles}


def told(report: Report) -> list[tuple[str, bool]]:
    return [(each.run_id, each.removed) for each in report.targets]


def test_expired_bundles_go_from_targets_and_the_newest_stays(keeper: Bringer) -> None:
    place = profile(keeper)
    runs = [make(keeper) for _ in range(3)]
    assert len(there(place)) == 3
    keeper.day = 100
    foretold = keeper.prune(dry_run=True)
    assert there(place) == {run.archive_id for run in runs}
    report = keeper.prune()
    assert told(report) == [(runs[1].id, True), (runs[0].id, True)]
    assert foretold.targets == report.targets
    assert there(place) == {runs[2].archive_id}
    again = keeper.prune()
    assert again.targets == []
    (edge,) = [each for each in keeper.run(runs[0].id).targets if each["target"] == "edge"]
    assert edge["removedAt"]


def test_what_a_target_names_its_latest_stays_though_a_newer_bundle_never_got_there(keeper: Bringer) -> None:
    place = profile(keeper)
    old = make(keeper)
    place.said += [DependencyFailed("away") for _ in range(20)]
    new = make(keeper)
    assert new.degraded
    keeper.day = 100
    report = keeper.prune()
    assert report.expired == []
    assert there(place) == {old.archive_id}
    assert keeper.kept() == [old.id, new.id]


def test_a_bundle_that_another_run_has_at_the_target_stays(keeper: Bringer) -> None:
    place = profile(keeper)
    first = make(keeper)
    keeper.day = 29
    again = keeper.make("mine")
    assert again.archive == first.archive
    newest = make(keeper)
    keeper.day = 40
    foretold = keeper.prune(dry_run=True)
    report = keeper.prune()
    assert told(report) == [(first.id, False)]
    assert foretold.targets == report.targets
    assert there(place) == {first.archive_id, newest.archive_id}
    keeper.day = 80
    report = keeper.prune()
    assert set(told(report)) == {(first.id, True), (again.id, True)}
    assert there(place) == {newest.archive_id}


def test_a_target_that_is_away_is_tried_again(keeper: Bringer, monkeypatch: pytest.MonkeyPatch) -> None:
    place = profile(keeper)
    first, _second = make(keeper), make(keeper)
    keeper.day = 100
    with monkeypatch.context() as patch:
        patch.setattr(keeper.fakes, "target", _away)
        report = keeper.prune()
    assert report.failures == [f"target edge, run {first.id}: edge is away"]
    assert told(report) == [(first.id, False)]
    assert keeper.run(first.id).removed_at is not None, "what lies here goes all the same"
    assert first.archive_id in there(place)
    assert told(keeper.prune()) == [(first.id, True)]
    assert first.archive_id not in there(place)


def _away(tenant: str, name: str) -> None:
    raise DependencyFailed(f"{name} is away")


def test_a_target_that_cannot_remove_is_asked_once(keeper: Bringer, monkeypatch: pytest.MonkeyPatch) -> None:
    profile(keeper, removes=False)
    first, _second = make(keeper), make(keeper)
    monkeypatch.setattr("tests.support.targets.FakeTarget.remove", lambda target, kept: False)
    keeper.day = 100
    assert told(keeper.prune()) == [(first.id, False)]
    assert keeper.prune().targets == []


# ---- runs that are deleted


def delete(keeper: Bringer, run: Run) -> list[str]:
    return control_runs.delete_run(keeper.run(run.id), keeper.control_tools)


def test_a_run_that_is_deleted_goes_from_its_targets_too(keeper: Bringer) -> None:
    place = profile(keeper)
    first, second = make(keeper), make(keeper)
    foretold = control_runs.removed_with(keeper.run(first.id), keeper.control_tools)
    assert foretold == [
        f"run {first.id}",
        f"bundle {first.export_id}/{first.archive_id}",
        f"target edge: fake://mine/{first.export_id}/{first.archive_id}",
    ]
    assert there(place) == {first.archive_id, second.archive_id}
    assert delete(keeper, first) == foretold
    assert there(place) == {second.archive_id}
    assert keeper.kept() == [second.id]


def test_what_a_target_names_its_latest_is_not_deleted(keeper: Bringer) -> None:
    place = profile(keeper)
    run = make(keeper)
    with pytest.raises(RunKept, match="the target edge names its bundle the latest"):
        delete(keeper, run)
    assert there(place) == {run.archive_id}
    assert keeper.kept() == [run.id]


def test_a_run_is_not_deleted_while_a_target_that_has_its_bundle_is_away(
    keeper: Bringer, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = profile(keeper)
    first, second = make(keeper), make(keeper)
    with monkeypatch.context() as patch:
        patch.setattr(keeper.fakes, "target", _away)
        with pytest.raises(RunKept, match="still at the target edge: edge is away") as refused:
            delete(keeper, first)
    assert "when the target can be reached" in refused.value.advice
    assert keeper.kept() == [first.id, second.id]
    delete(keeper, first)
    assert there(place) == {second.archive_id}


def test_a_copy_at_a_target_that_is_not_in_the_settings_any_more_is_told(keeper: Bringer) -> None:
    profile(keeper)
    first, _second = make(keeper), make(keeper)
    del keeper.fakes.places["edge"]
    assert "stays: there is no target 'edge'" in delete(keeper, first)[-1]


def test_a_copy_that_another_run_has_at_the_target_outlives_the_run_that_is_deleted(keeper: Bringer) -> None:
    place = profile(keeper)
    first = make(keeper)
    again = keeper.make("mine")
    assert again.archive == first.archive
    newest = make(keeper)
    assert delete(keeper, first)[-1].endswith("stays: another run has the same bundle there")
    assert there(place) == {first.archive_id, newest.archive_id}
    delete(keeper, again)
    assert there(place) == {newest.archive_id}


def test_what_an_earlier_delivery_brought_goes_though_a_later_one_failed(keeper: Bringer) -> None:
    place = profile(keeper)
    first, second = make(keeper), make(keeper)
    place.said += [DependencyFailed("away") for _ in range(20)]
    distribute_run(TENANT, first.id, "edge", keeper.tools)
    (edge,) = [each for each in keeper.run(first.id).targets if each["target"] == "edge"]
    assert edge["status"] != "succeeded"
    delete(keeper, first)
    assert there(place) == {second.archive_id}


# ---- other signatures


def sign_again(keeper: Bringer) -> None:
    local = keeper.local
    create_key(local.keys, TENANT, now=keeper.now())
    tools = ResignTools(
        local.runs, local.workspace, local.artefacts, local.tenant_keys, local.profiles, local.bundle_turns
    )
    assert {each.problem for each in resign_exports(TENANT, tools)} == {None}


def test_a_bundle_that_could_not_reach_a_required_target_is_signed_again_too(keeper: Bringer) -> None:
    place = keeper.fakes.add("edge")
    keeper.profile("mine", distribution=[Target("object", "edge", required=True)])
    place.said += [DependencyFailed("away") for _ in range(20)]
    with pytest.raises(StellaError):
        keeper.make("mine")
    (run,) = keeper.local.runs.list(TENANT)
    assert (run.status, run.is_published) == (RunStatus.FAILED, True)
    assert run.archive is not None
    before = b"".join(keeper.local.artefacts.read(run.archive, "signatures/export.sig"))
    sign_again(keeper)
    assert b"".join(keeper.local.artefacts.read(run.archive, "signatures/export.sig")) != before
    assert keeper.is_there(run)


def test_records_say_which_files_of_a_mirror_targets_have_after_it_was_signed_again(keeper: Bringer) -> None:
    place = keeper.fakes.add("edge")
    keeper.profile("mine", kind="mirror:full", distribution=[Target("object", "edge")])
    run = make(keeper)

    def brought() -> Mapping[str, Any]:
        return next(each for each in keeper.run(run.id).targets if each["target"] == "edge")

    assert "artifacts" not in brought()
    sign_again(keeper)
    sign_again(keeper)
    assert keeper.run(run.id).artifacts != run.artifacts
    (files,) = place.bundles.values()
    for each in brought()["artifacts"]:
        assert each["sha256"] == f"sha256:{hashlib.sha256(files[each['path']]).hexdigest()}"
    assert {each["path"] for each in brought()["artifacts"]} == {each.path for each in run.artifacts}
    distribute_run(TENANT, run.id, "edge", keeper.tools)
    assert "artifacts" not in brought()
    (files,) = place.bundles.values()
    for artifact in keeper.run(run.id).artifacts:
        assert artifact.sha256 == f"sha256:{hashlib.sha256(files[artifact.path]).hexdigest()}"
