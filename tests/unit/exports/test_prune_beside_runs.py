"""A pass of retention beside a run that shares, stores or builds on what is going: at each point of the one, the other.

Both are begun in turn: the second one starts when the first has come to a call of a store, goes as far as it can, and
then both go on. Whatever the order, a run that succeeds has its bundle and all that it builds on.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stellaops.core.errors import StellaError
from stellaops.exports.errors import ArchiveGone, BaseMissing
from stellaops.exports.manage_profiles import find_profile
from stellaops.exports.plan_run import RunRequest
from stellaops.exports.retention.prune_exports import prune_exports
from stellaops.exports.retention.rules import Mode, Rule, holds_bundle
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.run_export import run_export
from tests.unit.exports.retaining import TENANT, Keeper, document

_AS_FAR_AS_IT_CAN = 0.4
"""Seconds that the second one has before the first goes on, where it does not end before."""


class Watched:
    """A store whose calls are counted; before one of them something else is begun."""

    def __init__(self, store: object, names: tuple[str, ...], meet: Callable[[str], None]) -> None:
        self._store, self._names, self._meet = store, names, meet

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in self._names:
            return found

        def call(*arguments: Any, **more: Any) -> Any:
            self._meet(name)
            return found(*arguments, **more)

        return call


class Meeting:
    """Where one of two comes to a call, the other is begun."""

    def __init__(self, at: int, other: Callable[[], object]) -> None:
        self._left, self._other = at, other
        self._thread: threading.Thread | None = None
        self.failures: list[BaseException] = []
        self.point = ""

    def __call__(self, name: str) -> None:
        self._left -= 1
        if self._left == 0 and self._thread is None:
            self.point = name
            self._thread = threading.Thread(target=self._run)
            self._thread.start()
            self._thread.join(_AS_FAR_AS_IT_CAN)

    def _run(self) -> None:
        try:
            self._other()
        except BaseException as error:  # noqa: BLE001 - told in the test
            self.failures.append(error)

    def end(self) -> bool:
        """Wait for the other; whether there was such a point."""
        if self._thread is not None:
            self._thread.join()
        return self._thread is not None


RUN_CALLS = ("change", "planned", "get")
STORE_CALLS = ("exists", "put", "opened", "delete", "files")


def opened(place: Path) -> Keeper:
    """The newest bundle of each profile is kept."""
    keeper = Keeper(place, day=2)
    keeper.rules = {"json": Rule(Mode.COUNT, 1), "mirror": Rule(Mode.COUNT, 1)}
    return keeper


def close(keeper: Keeper) -> None:
    keeper.local.evidence_engine.dispose()
    keeper.local.service_engine.dispose()


def execute(keeper: Keeper, meeting: Meeting | None, profile: str, **more: Any) -> Run:
    tools = keeper.tools
    if meeting is not None:
        runs = Watched(tools.runs, RUN_CALLS, meeting)
        tools = replace(tools, runs=runs, artefacts=Watched(tools.artefacts, STORE_CALLS, meeting))
    recipe = find_profile(TENANT, profile, keeper.local.profiles)
    return run_export(RunRequest("run-new", TENANT, recipe, {}, allow_empty=True, **more), tools)


def prune(keeper: Keeper, meeting: Meeting | None) -> None:
    tools = keeper.retention
    if meeting is not None:
        runs = Watched(tools.runs, ("change", "list"), meeting)
        tools = replace(tools, runs=runs, artefacts=Watched(tools.artefacts, STORE_CALLS, meeting))
    report = prune_exports(tools)
    assert report.ok, report.failures


def demand_whole(keeper: Keeper) -> None:
    """Every kept bundle is there and sound, and so is what it builds on; a second pass removes nothing of it."""
    for _ in range(2):
        for run in keeper.local.runs.list(TENANT):
            if holds_bundle(run):
                assert keeper.is_there(run), run.id
                if run.chain is not None and run.chain.base_run is not None:
                    base = keeper.run(run.chain.base_run)
                    assert holds_bundle(base)
                    assert keeper.is_there(base), base.id
        keeper.prune()
    assert {keeper.folder(run) for run in keeper.local.runs.list(TENANT) if holds_bundle(run)} == set(
        keeper.folders()
    )


def made_before(place: Path, kind: str) -> Run:
    """The first of two bundles, which is over; the evidence then says again what it said for it."""
    place.mkdir()
    keeper = opened(place)
    keeper.day = 0
    keeper.take(document(1), document(2))
    old = keeper.make(kind)
    keeper.day = 1
    keeper.take(document(1, summary="Changed"))
    keeper.make(kind)
    keeper.day = 2
    keeper.take(document(1))
    close(keeper)
    return old


Scene = Callable[[Keeper, int, Run], Meeting]


def outcomes(tmp_path: Path, kind: str, step: int, scene: Scene) -> list[str]:
    """What became of the run at every point, each on a data directory of its own."""
    old = made_before(tmp_path / "before", kind)
    found: list[str] = []
    for at in range(1, 1000, step):
        place = tmp_path / str(at)
        shutil.copytree(tmp_path / "before", place)
        keeper = opened(place)
        meeting = scene(keeper, at, old)
        if not meeting.end():
            return found
        assert not [each for each in meeting.failures if not isinstance(each, StellaError)], meeting.point
        demand_whole(keeper)
        found.append(ended(keeper))
        close(keeper)
        shutil.rmtree(place)
    raise AssertionError("there is no end to it")


def ended(keeper: Keeper) -> str:
    run = keeper.run("run-new")
    if run.status is RunStatus.SUCCEEDED:
        return "succeeded"
    assert run.status is RunStatus.FAILED
    return str(run.error_code)


def sharing(first: str, *, replayed: bool) -> Scene:
    """A run that comes to have the archive of the old one: by an equal plan, or by building the same again."""

    def scene(keeper: Keeper, at: int, old: Run) -> Meeting:
        more = {"sequence": old.sequence} if replayed else {}
        return met(keeper, at, first, lambda meeting: execute(keeper, meeting, "json:raw", **more))

    return scene


def building_on(first: str) -> Scene:
    """A delta that builds on the old archive."""

    def scene(keeper: Keeper, at: int, old: Run) -> Meeting:
        more = {"base": old.export_id}
        return met(keeper, at, first, lambda meeting: execute(keeper, meeting, "mirror:delta", **more))

    return scene


def met(keeper: Keeper, at: int, first: str, run: Callable[[Meeting | None], object]) -> Meeting:
    if first == "pass":
        meeting = Meeting(at, lambda: run(None))
        prune(keeper, meeting)
        return meeting
    meeting = Meeting(at, lambda: prune(keeper, None))
    with suppress(ArchiveGone, BaseMissing):
        run(meeting)
    return meeting


@pytest.mark.parametrize("first", ["run", "pass"])
@pytest.mark.parametrize("replayed", [True, False])
def test_a_run_that_comes_to_share_an_archive_keeps_it(tmp_path: Path, first: str, replayed: bool) -> None:
    found = outcomes(tmp_path, "json:raw", 5, sharing(first, replayed=replayed))
    assert set(found) == {"succeeded"}, found
    assert len(found) > 1


@pytest.mark.parametrize("first", ["run", "pass"])
def test_a_delta_has_its_base_or_fails_because_that_is_gone(tmp_path: Path, first: str) -> None:
    found = outcomes(tmp_path, "mirror:full", 6, building_on(first))
    assert set(found) <= {"succeeded", "base_missing"}, found
    assert "succeeded" in found


@pytest.mark.slow
@pytest.mark.parametrize("first", ["run", "pass"])
@pytest.mark.parametrize("what", ["equal plan", "equal content", "delta"])
def test_the_same_at_every_point(tmp_path: Path, first: str, what: str) -> None:
    if what == "delta":
        found = outcomes(tmp_path, "mirror:full", 1, building_on(first))
    else:
        found = outcomes(tmp_path, "json:raw", 1, sharing(first, replayed=what == "equal plan"))
    assert set(found) <= {"succeeded", *(["base_missing"] if what == "delta" else [])}, found
