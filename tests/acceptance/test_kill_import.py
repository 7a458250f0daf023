"""Imports that die in the middle: the next command goes on, and the end is that of an import that did not die."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.importing import (
    called,
    failed,
    imported,
    is_sound,
    older_and_newer,
    pending,
    start,
    state,
    stella,
)

SIZE = 5000  # more than one batch


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
    found = pending(data)
    assert found is not None
    job, _, done = found
    report = imported(data, *scene.arguments[2:], by=called)
    expected = dict(scene.report) | {"resumed": job != "done"}
    if done > 1:  # the killed process had done everything but say so: nothing is left to do
        keys = expected["added"] + expected["changed"] + expected["unchanged"]
        expected |= dict.fromkeys(("added", "changed", "withdrawn", "vanished"), 0) | {"unchanged": keys}
    assert report == expected
    assert state(data) == scene.state
    assert is_sound(data)


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
    kill_often(scene, tmp_path, 3, random.randrange(1 << 30))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))  # each within the time limit of one test
def test_an_import_killed_at_fifty_moments_goes_on_to_the_same_end(
    scene: Scene, tmp_path: Path, part: int
) -> None:
    kill_often(scene, tmp_path, 5, random.randrange(1 << 30) + part)


def wait_for(data: Path, process: subprocess.Popen[bytes], *, position: int) -> None:
    """Wait until an import has staged so many files, or more, and is not done."""
    while True:
        job = pending(data)
        if job is not None and job[0] != "done" and job[1] >= position:
            return
        assert process.poll() is None, "the import was done before it could be interrupted"
        time.sleep(0.002)


def test_staged_work_is_used_again_after_a_kill(scene: Scene, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scene.data, data)
    with start(data, *scene.arguments) as process:
        wait_for(data, process, position=1)
        process.kill()
        process.communicate()
    found = pending(data)
    assert found is not None
    assert found[1] > 0
    finish_and_compare(scene, data)


@pytest.mark.slow
def test_an_interrupted_first_import_shows_nothing_until_it_is_done(scene: Scene, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with start(data, *scene.arguments) as process:
        wait_for(data, process, position=1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err.decode().splitlines()[-1]) == (130, "interrupted")
    (line,) = stella(data, "concelier", "status").value["sources"]
    assert (line["documents"], line["complete"], line["updatedAt"]) == (0, False, None)
    assert imported(data, *scene.arguments[2:])["resumed"]
    imported(tmp_path / "alone", *scene.arguments[2:])
    assert state(data) == state(tmp_path / "alone")


def test_of_two_imports_of_one_source_at_once_one_is_told_to_wait(scene: Scene, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scene.data, data)
    with start(data, *scene.arguments) as process:
        wait_for(data, process, position=0)
        process.send_signal(signal.SIGSTOP)  # it would be done before another one has started
        try:
            failed(stella(data, *scene.arguments), 10, "ERR_IMPORT_SOURCE_BUSY")
        finally:
            process.send_signal(signal.SIGCONT)
        out, err = process.communicate()
        assert process.returncode == 0, err
    assert out
    assert state(data) == scene.state


@pytest.mark.slow
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
