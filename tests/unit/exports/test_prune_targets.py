"""Expired bundles go from targets too: not what their newest is, and not what another run has there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stellaops.core.errors import DependencyFailed
from stellaops.exports.plan_run import Tools
from stellaops.exports.profile import Target
from stellaops.exports.retention.prune_exports import RetentionTools
from stellaops.exports.retention.report import Report
from stellaops.exports.run import Run
from tests.support.targets import FakePlace, FakeTargets
from tests.unit.exports.retaining import Keeper, document


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
    report = keeper.prune()
    assert told(report) == [(runs[1].id, True), (runs[0].id, True)]
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
    report = keeper.prune()
    assert told(report) == [(first.id, False)]
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
