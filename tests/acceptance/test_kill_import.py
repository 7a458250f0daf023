"""Imports that die in the middle: the next command goes on, and the end is that of an import that did not die."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.importing import (
    failed,
    imported,
    is_sound,
    older_and_newer,
    pending,
    start,
    state,
    stella,
)

SIZE = 4000


@dataclass(frozen=True)
class Scene:
    """A store with the older listing in it, the command that imports the newer one, and where that leads."""

    data: Path
    newer: Path
    report: dict[str, Any]
    state: Any
    seconds: float

    @property
    def arguments(self) -> tuple[object, ...]:
        return ("concelier", "import", self.newer, "--source", "pypa", "--prune")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    root = tmp_path_factory.mktemp("kill")
    older, newer = older_and_newer(root, SIZE)
    imported(root / "before", older, "--source", "pypa")
    shutil.copytree(root / "before", root / "whole")
    begin = time.monotonic()
    report = imported(root / "whole", newer, "--source", "pypa", "--prune")
    seconds = time.monotonic() - begin
    assert not report["resumed"]
    assert all(
        report[name] for name in ("added", "changed", "unchanged", "withdrawn", "vanished", "quarantined")
    )
    return Scene(root / "before", newer, report, state(root / "whole"), seconds)


def die(scene: Scene, data: Path, after: float) -> None:
    """Start the import and kill it after some seconds, unless it is done by then."""
    with start(data, *scene.arguments) as process:
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)


def finish_and_compare(scene: Scene, data: Path) -> None:
    before = pending(data)
    report = imported(data, *scene.arguments[2:])
    expected = dict(scene.report)
    if before is None or before[0] == "done":
        finished = before is not None and _finished_all(data, scene)
        if finished:
            counts = {"added": 0, "changed": 0, "withdrawn": 0, "vanished": 0}
            keys = expected["added"] + expected["changed"] + expected["unchanged"]
            expected |= counts | {"unchanged": keys}
    else:
        expected["resumed"] = True
    assert report == expected
    assert state(data) == scene.state
    assert is_sound(data)


def _finished_all(data: Path, scene: Scene) -> bool:
    """Whether the killed process had done everything but say so: then the next one finds nothing to do."""
    with sqlite(data) as ask:
        return bool(ask("SELECT count(*) > 1 FROM job"))


def sqlite(data: Path) -> Any:
    import sqlite3  # noqa: PLC0415
    from contextlib import contextmanager  # noqa: PLC0415

    @contextmanager
    def asking() -> Iterator[Callable[[str], Any]]:
        connection = sqlite3.connect(data / "evidence.db")
        try:
            yield lambda query: connection.execute(query).fetchone()[0]
        finally:
            connection.close()

    return asking()


def kill_often(scene: Scene, directory: Path, times: int, seed: int) -> None:
    moments = random.Random(seed)
    for number in range(times):
        data = directory / f"killed-{number}"
        shutil.copytree(scene.data, data)
        for _ in range(moments.choice((1, 1, 2, 3))):
            die(scene, data, moments.uniform(0.2, scene.seconds * 1.05))
        finish_and_compare(scene, data)
        shutil.rmtree(data)


def test_an_import_killed_at_any_moment_goes_on_to_the_same_end(scene: Scene, tmp_path: Path) -> None:
    kill_often(scene, tmp_path, 5, random.randrange(1 << 30))


@pytest.mark.slow
def test_an_import_killed_at_fifty_moments_goes_on_to_the_same_end(scene: Scene, tmp_path: Path) -> None:
    kill_often(scene, tmp_path, 50, random.randrange(1 << 30))


def wait_until(data: Path, source_job: Callable[[tuple[str, int] | None], bool]) -> None:
    limit = time.monotonic() + 60
    while not source_job(pending(data)):
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_staged_work_is_used_again_after_a_kill(scene: Scene, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scene.data, data)
    with start(data, *scene.arguments) as process:
        wait_until(data, lambda job: job is not None and job[0] == "staging" and job[1] > 0)
        process.kill()
        process.communicate()
    found = pending(data)
    assert found is not None
    assert found[1] > 0
    finish_and_compare(scene, data)


def test_an_interrupted_first_import_shows_nothing_until_it_is_done(scene: Scene, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with start(data, *scene.arguments) as process:
        wait_until(data, lambda job: job is not None and job[0] == "staging" and job[1] > 0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err.decode().splitlines()[-1]) == (130, "interrupted")
    (line,) = stella(data, "concelier", "status").value["sources"]
    assert (line["documents"], line["complete"], line["updatedAt"]) == (0, False, None)
    assert imported(data, *scene.arguments[2:])["resumed"]
    assert state(data)[2] == scene.state[2]


def test_of_two_imports_of_one_source_at_once_one_is_told_to_wait(scene: Scene, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scene.data, data)
    with start(data, *scene.arguments) as process:
        wait_until(data, lambda job: job is not None and job[0] != "done")
        failed(stella(data, *scene.arguments), 10, "ERR_IMPORT_SOURCE_BUSY")
        out, err = process.communicate()
        assert process.returncode == 0, err
    assert out
    assert state(data) == scene.state


def test_imports_of_two_sources_at_once_lose_nothing(scene: Scene, tmp_path: Path) -> None:
    data, alone = tmp_path / "data", tmp_path / "alone"
    names = ("one", "two")
    running = [start(data, "concelier", "import", scene.newer, "--source", name) for name in names]
    for process in running:
        with process:
            _, err = process.communicate()
            assert process.returncode == 0, err
    for name in names:
        imported(alone, scene.newer, "--source", name)
    there, here = state(data), state(alone)
    assert (there[:3], sorted(there[3])) == (here[:3], sorted(here[3]))
    assert is_sound(data)
