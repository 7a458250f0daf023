"""Pulls that die in the middle: the next one goes on, nothing is lost and nothing is done twice."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.importing import is_sound, state
from tests.acceptance.pulling import add_bucket, process, pulled, start
from tests.contract.stores import osv
from tests.support import osv_bucket
from tests.support.web import Slow, Upstream, serving

SIZE = 2500


@dataclass(frozen=True)
class Scene:
    """A server with the newer documents, a store with the older ones, and where pulls lead."""

    upstream: Upstream
    data: Path
    state: Any
    seconds: float


def documents(*, newer: bool) -> dict[str, dict[str, Any]]:
    """Documents before and after: some added, changed, withdrawn, gone, and as many the same."""
    found = {}
    for number in range(SIZE):
        identifier = f"PYSEC-2024-{number:05}"
        day = f"2023-{number % 12 + 1:02}-{number % 28 + 1:02}T00:00:00Z"
        document = osv(identifier, details="padding " * (number * 7 % 200), modified=day)
        if newer and number % 7 == 0:
            document |= {"summary": "Changed since", "modified": "2026-05-01T00:00:00Z"}
        if newer and number % 35 == 0:
            document["withdrawn"] = "2026-05-01T00:00:00Z"
        if number % 11 if newer else number % 3:
            found[identifier] = document
    return {"PyPI": found}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("pulls")
    with serving(osv_bucket.files(documents(newer=False))) as upstream:
        add_bucket(root / "before", "pypa", upstream.url, "PyPI")
        pulled(root / "before", "pypa")
        upstream.files = osv_bucket.files(documents(newer=True))
        # Documents come slowly enough that a kill meets the download as often as the import.
        upstream.misbehave = lambda request: Slow(2, 0.02) if request.path.endswith(".zip") else None
        shutil.copytree(root / "before", root / "whole")
        begin = time.monotonic()
        report = pulled(root / "whole", "pypa", "--full", by=process)
        seconds = time.monotonic() - begin
        assert all(report[name] for name in ("added", "changed", "unchanged", "withdrawn", "vanished"))
        yield Scene(upstream, root / "before", state(root / "whole"), seconds)


def die(scene: Scene, data: Path, after: float) -> bool:
    """Start the pull and kill it after some seconds; whether it was still at work."""
    with start(data, "pull", "pypa", "--full", "--now") as dying:
        try:
            dying.wait(after)
        except subprocess.TimeoutExpired:
            dying.send_signal(signal.SIGKILL)
        dying.communicate()
        assert dying.returncode in (0, -signal.SIGKILL)
        return dying.returncode != 0


def kill_often(scene: Scene, directory: Path, times: int, seed: int) -> None:
    moments = random.Random(seed)
    killed = 0
    number = 0
    while killed < times:
        data = directory / f"killed-{number}"
        shutil.copytree(scene.data, data)
        for _ in range(moments.choice((1, 1, 2, 3))):
            killed += die(scene, data, moments.uniform(0.4, scene.seconds))
        pulled(data, "pypa", "--full", "--now")
        # The same digests, the same lines, and the same number of changes: nothing is lost, nothing was done twice.
        assert state(data) == scene.state
        assert is_sound(data)
        assert not [
            path for path in (data / "pulls" / "pypa").rglob("*") if path.parent.name in ("blobs", "partial")
        ]
        shutil.rmtree(data)
        number += 1


def test_a_pull_killed_at_any_moment_goes_on_to_the_same_end(scene: Scene, tmp_path: Path) -> None:
    kill_often(scene, tmp_path, 3, random.randrange(1 << 30))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))  # each within the time limit of one test
def test_a_pull_killed_at_a_hundred_moments_goes_on_to_the_same_end(
    scene: Scene, tmp_path: Path, part: int
) -> None:
    kill_often(scene, tmp_path, 5, random.randrange(1 << 30) + part)


def test_a_pull_of_single_documents_is_gone_on_with(scene: Scene, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scene.data, data)
    slow = scene.upstream.misbehave
    scene.upstream.misbehave = lambda request: Slow(1, 0.01) if request.path.endswith("0.json") else None
    scene.upstream.forget()
    try:
        with start(data, "pull", "pypa") as dying:
            while scene.upstream.asked() < 200:
                assert dying.poll() is None
                time.sleep(0.005)
            dying.kill()
            dying.communicate()
        had = len({path for path in scene.upstream.sent_paths if path.endswith(".json")})
        scene.upstream.forget()
        pulled(data, "pypa")
        again = len({path for path in scene.upstream.sent_paths if path.endswith(".json")})
        pulled(data, "pypa")
        before, after = documents(newer=False)["PyPI"], documents(newer=True)["PyPI"]
        changed = sum(content != before.get(name) for name, content in after.items())
        assert had > 150
        # Beside the changed ones some are asked for again because they are near the cursor.
        assert again < changed - 100
    finally:
        scene.upstream.misbehave = slow
    pulled(data, "pypa", "--full")
    assert state(data) == scene.state
    assert is_sound(data)
