"""`stella excititor pull` as a process: a CSAF provider and a VEX repository, pulled, killed, and pulled on."""

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
from pysequoia import Tsk

from tests.acceptance.importing import called, is_sound, state
from tests.acceptance.pulling import concelier, process, pulled, start
from tests.contract.test_vex_pulls import ARCHIVE, hub, serve
from tests.support.csaf_provider import METADATA, Provider, served
from tests.support.web import File, Slow, Upstream, serving

SIZE = 240
OLD, NEW = "2024-05-01T00:00:00Z", "2024-08-01T00:00:00Z"


@dataclass(frozen=True)
class Scene:
    """A server that has moved on, a store of before, and where a pull leads."""

    upstream: Upstream
    data: Path
    state: Any
    seconds: float
    consensus: Any


def provider(upstream: Upstream) -> Iterator[dict[str, File | bytes]]:
    """A provider's files before and after: some documents added, changed, deleted, and as many the same."""
    made = Provider(signing=Tsk.generate("Example PSIRT <psirt@example.com>"))
    for number in range(SIZE):
        made.put(f"2024/cve-2024-{number:04}", OLD, title="padding " * (number * 7 % 200))
    yield served(made.announce(upstream.url))
    for number in range(SIZE + 40):
        if number % 11 == 0 and number < SIZE:
            made.delete(f"2024/cve-2024-{number:04}", NEW)
        elif number % 7 == 0 or number >= SIZE:
            made.put(f"2024/cve-2024-{number:04}", NEW, status="known_not_affected")
    yield served(made.announce(upstream.url))


def repository(upstream: Upstream) -> Iterator[dict[str, File | bytes]]:
    """A repository's files before and after."""
    for status, names in (("not_affected", range(600)), ("fixed", range(100, 700))):
        serve(upstream, hub(*(f"package-{number}" for number in names), status=status))
        yield dict(upstream.files)


def slow(request: Any) -> Slow | None:
    """Downloads that take long enough to be killed in."""
    if request.path == ARCHIVE:
        return Slow(8, 0.05)
    return Slow(1, 0.01) if request.path.endswith("0.json") else None


KINDS: dict[str, tuple[Callable[[Upstream], Iterator[dict[str, File | bytes]]], list[str]]] = {
    "csaf-provider": (provider, ["--feed", "csaf-vex", "--option", "hash=sha512"]),
    "vex-repository": (repository, ["--feed", "openvex", "--prune"]),
}


def consensus(data: Path) -> Any:
    name = "CVE-2024-0007" if (data / "provider").exists() else "CVE-2024-0001"
    answer = called(data, "excititor", "consensus", name)
    assert answer.code == 0, answer.err
    return [(each["status"], len(each["statements"])) for each in answer.value["products"]]


@pytest.fixture(
    scope="module", params=["vex-repository", pytest.param("csaf-provider", marks=pytest.mark.slow)]
)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp(request.param)
    stages, options = KINDS[request.param]
    with serving() as upstream:
        each = stages(upstream)
        upstream.files = next(each)
        url = f"{upstream.url}{METADATA}" if request.param == "csaf-provider" else upstream.url
        before = root / "before"
        words = ("sources", "add", "demo", "--layout", request.param, "--url", url, *options)
        added = concelier(before, *words)
        assert added.code == 0, added.err
        if request.param == "csaf-provider":
            (before / "provider").touch()
        assert pulled(before, "demo", product="excititor")["statements"] > 0
        upstream.files = next(each)
        upstream.misbehave = slow
        shutil.copytree(before, root / "whole")
        begin = time.monotonic()
        report = pulled(root / "whole", "demo", product="excititor", by=process)
        seconds = time.monotonic() - begin
        assert all(report[name] for name in ("added", "changed", "vanished")), report
        yield Scene(upstream, before, state(root / "whole"), seconds, consensus(root / "whole"))


def die(data: Path, after: float) -> bool:
    """Start the pull and kill it after some seconds; whether it was still at work."""
    with start(data, "pull", "demo", "--now", product="excititor") as dying:
        try:
            dying.wait(after)
        except subprocess.TimeoutExpired:
            dying.send_signal(signal.SIGKILL)
        dying.communicate()
        return dying.returncode != 0


def test_a_pull_of_vex_killed_at_any_moment_goes_on_to_the_same_end(scene: Scene, tmp_path: Path) -> None:
    moments = random.Random()
    killed = 0
    for number in range(10):
        data = tmp_path / f"killed-{number}"
        shutil.copytree(scene.data, data)
        for _ in range(moments.choice((1, 2))):
            killed += die(data, moments.uniform(0.4, scene.seconds))
        pulled(data, "demo", "--now", product="excititor")
        # The same digests, the same lines and the same number of changes: nothing is lost, nothing was done twice.
        assert state(data) == scene.state
        assert is_sound(data)
        assert consensus(data) == scene.consensus
        shutil.rmtree(data)
        if killed >= 3:
            return
    assert killed


def test_the_report_tells_what_was_checked_and_how_many_statements_stand(
    scene: Scene, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scene.data, data)
    report = pulled(data, "demo", product="excititor")
    listed = called(data, "excititor", "status").value["sources"]
    assert [(each["source"], each["statements"]) for each in listed] == [("demo", report["statements"])]
    if (data / "provider").exists():
        checks = report["checks"]
        assert checks["signaturesGood"] == checks["hashesGood"] == report["added"] + report["changed"]
        assert (checks["signaturesWrong"], checks["unsigned"]) == (0, 0)
