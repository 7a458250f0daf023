"""Exports that are killed, that meet a full disk, or a disk that cannot be written: nothing half done is left."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from stellaops.exports import execute_run
from tests.unit.cli.running import PROCESS, Stella, environment, osv, package, spawn, until
from tests.unit.cli.scanning import once

QUICK = (
    "apiVersion: stellaops.io/export.v1\nkind: ExportProfile\nmetadata: {name: quick}\n"
    "spec: {kind: trivy, variant: db, smoke: 'off'}\n"
)


def prepare(place: Path) -> None:
    stella = Stella(place / "data")
    documents = [
        osv(
            f"GHSA-{number:04d}-aaaa-bbbb",
            package("npm", f"package-{number}", *until(f"{number}.2.3")),
            details=f"All about number {number}. " * 40,
        )
        for number in range(1500)
    ]
    stella.take(place / "in", "ghsa", *documents)
    (place / "quick.yaml").write_text(QUICK, encoding="utf-8")
    stella("export", "profile", "create", str(place / "quick.yaml"))
    stella("authority", "key", "create")


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with evidence, a key and a profile without a smoke scan."""
    return once(tmp_path_factory, "crash-store", prepare) / "data"


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Stella:
    return Stella(Path(shutil.copytree(filled, tmp_path / "data")))


def start(store: Stella, profile: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROCESS, "--data-dir", str(store.data_dir), "export", "run", "submit", "--profile", profile],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def bundles(store: Stella) -> list[Path]:
    exports = store.data_dir / "exports"
    return sorted(path for path in exports.glob("*/*") if path.parent.name != ".staging")


def leftovers(store: Stella) -> list[Path]:
    staging = store.data_dir / "exports" / ".staging"
    return sorted(staging.iterdir()) if staging.exists() else []


def demand_whole(store: Stella, export_id: str | None) -> None:
    """Whatever is visible verifies, and there is at most the one export."""
    for bundle in bundles(store):
        assert store("export", "verify", str(bundle))["verdict"] == "ok"
        assert export_id in (None, bundle.parent.name)


def kill_at_random_moments(store: Stella, profile: str, times: int, seed: int) -> None:
    chance = random.Random(seed)
    began = time.monotonic()
    with start(store, profile) as process:
        assert process.wait() == 0
    lasts = time.monotonic() - began
    reference = store("export", "run", "list", "--latest")[0]
    assert store("export", "run", "delete", reference["runId"])["removed"]
    stopped = 0
    for _ in range(10 * times):
        process = start(store, profile)
        time.sleep(chance.uniform(0.3, 1.0) * lasts)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            stopped += 1
        else:  # over before the kill: the machine has become quicker
            lasts *= 0.8
        demand_whole(store, reference["exportId"])
        if stopped == times:
            break
    again = store.submit(profile)
    assert (again["exportId"], again["archiveId"]) == (reference["exportId"], reference["archiveId"])
    assert leftovers(store) == []
    runs = store("export", "run", "list")
    assert {run["status"] for run in runs} <= {"succeeded", "failed"}
    for run in runs:
        if run["status"] == "failed":
            # One that was killed after its bundle was published has failed to bring it to its targets.
            assert run["errorCode"] in ("internal", "distribution")
            assert "submit it again" in run["error"]
    assert stopped == times
    demand_whole(store, reference["exportId"])


@pytest.mark.parametrize("profile", ["quick", "json:raw"])
def test_a_killed_export_leaves_nothing_half_written_and_the_next_gives_the_same(
    profile: str, store: Stella
) -> None:
    kill_at_random_moments(store, profile, times=3, seed=len(profile))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("profile", ["quick", "json:raw", "trivy:db"])
def test_many_killed_exports_leave_nothing_half_written(profile: str, seed: int, store: Stella) -> None:
    kill_at_random_moments(store, profile, times=15, seed=seed)


def test_a_run_whose_process_died_is_marked_and_its_staging_swept(store: Stella) -> None:
    """Stopped, not lucky: the process is frozen while it builds, seen alive, then killed."""
    process = start(store, "json:raw")
    staging = store.data_dir / "exports" / ".staging"
    deadline = time.monotonic() + 60
    while not list(staging.glob("*/*/data")) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGSTOP)
    if not leftovers(store):  # it was quicker than we
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        pytest.skip("the export was over before it could be stopped")
    (alive,) = leftovers(store)
    other = store.submit("quick")
    assert leftovers(store) == [alive]
    running = store("export", "run", "show", alive.name)
    assert running["status"] == "running"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert store.submit("quick")["exportId"] == other["exportId"]
    assert leftovers(store) == []
    assert store("export", "run", "show", alive.name)["status"] == "failed"


def test_an_interrupted_export_is_recorded_as_cancelled(store: Stella) -> None:
    process = start(store, "json:raw")
    staging = store.data_dir / "exports" / ".staging"
    deadline = time.monotonic() + 60
    while not list(staging.glob("*/*/data")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    code = process.wait()
    run = store("export", "run", "list", "--latest")[0]
    assert (code, run["status"]) in ((130, "cancelled"), (0, "succeeded"))
    assert leftovers(store) == []


# ---- disks


@pytest.mark.parametrize("spare", [32 << 10, 96 << 10, 700 << 10])
@pytest.mark.parametrize("foreseen", [True, False])
def test_a_full_disk_is_told_and_leaves_nothing(
    spare: int,
    foreseen: bool,
    filled: Path,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needed = sum(path.stat().st_size for path in filled.rglob("*") if path.is_file())
    disk = small_disk(needed + (24 << 20))
    store = Stella(Path(shutil.copytree(filled, disk / "data")))
    fill(disk, leave=spare)
    before = tree(store)
    codes = ["ERR_STORE_FULL", "ERR_EXPORT_STAGING_ROOM" if foreseen else "ERR_EXPORT_NO_ROOM"]
    with monkeypatch.context() as patched:
        if not foreseen:  # something else fills the disk after the look at it
            patched.setattr(execute_run, "demand_room", lambda *_: None)
        answer = store.ask("export", "run", "submit", "--profile", "quick")
    assert answer.code == 5, answer
    # Where there is room for the end of the run in its record, that is shown.
    assert not answer.out or json.loads(answer.out)["status"] == "failed", answer
    assert answer.err.startswith(tuple(f"error {code}: " for code in codes)), answer.err
    assert "\n→ " in answer.err
    assert leftovers(store) == []
    assert bundles(store) == []
    assert tree(store) == before
    (disk / "ballast").unlink()
    again = store.submit("quick")
    assert store("export", "verify", str(store.bundle(again)))["verdict"] == "ok"
    assert all(run["status"] != "running" for run in store("export", "run", "list"))


def fill(disk: Path, leave: int) -> None:
    room = os.statvfs(disk)
    with (disk / "ballast").open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, room.f_bavail * room.f_frsize - leave)


def tree(store: Stella) -> set[str]:
    """The names below the data directory, but for what a database keeps beside itself."""
    return {
        str(path.relative_to(store.data_dir))
        for path in store.data_dir.rglob("*")
        if not path.name.endswith(("-wal", "-shm")) and path.name not in ("exports", ".staging")
    }


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


def test_a_data_directory_that_cannot_be_written_is_told_and_can_still_be_read(
    filled: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(64 << 20)
    store = Stella(Path(shutil.copytree(filled, disk / "data")))
    export = ("--data-dir", str(store.data_dir), "export")
    run = spawn(*export, "run", "submit", "--profile", "json:raw").value
    remount(disk, "ro")
    try:
        answer = spawn(*export, "run", "submit", "--profile", "json:raw")
        assert (answer.code, answer.out) == (5, ""), answer
        assert answer.err.startswith(("error ERR_STORE_READ_ONLY: ", "error ERR_EXPORT_NO_ROOM: "))
        assert spawn(*export, "verify", str(store.bundle(run))).value["verdict"] == "ok"
    finally:
        remount(disk, "rw")
    assert spawn(*export, "run", "submit", "--profile", "json:raw").value["exportId"] == run["exportId"]


def test_a_download_to_a_full_disk_leaves_nothing(
    filled: Path, store: Stella, small_disk: Callable[[int], Path]
) -> None:
    run = store.submit("json:raw")
    disk = small_disk(64 << 10)
    error = store.refused(
        5, "ERR_EXPORT_NO_ROOM", "export", "download", run["runId"], "--to", str(disk / "bundle")
    )
    assert f"{disk / 'bundle'}: the disk is full" in error
    assert list(disk.iterdir()) == []


def test_loading_into_a_trivy_cache_on_a_full_disk_keeps_what_was_there(
    store: Stella, small_disk: Callable[[int], Path]
) -> None:
    run = store.submit("quick")
    disk = small_disk(512 << 10)
    (disk / "db").mkdir()
    (disk / "db" / "trivy.db").write_bytes(b"earlier")
    bundle = str(store.bundle(run) / "trivy" / "db.bundle")
    store.refused(5, "ERR_EXPORT_NO_ROOM", "trivy", "import", bundle, "--cache-dir", str(disk))
    assert [path.name for path in disk.iterdir()] == ["db"]
    assert (disk / "db" / "trivy.db").read_bytes() == b"earlier"
    store.refused(5, "ERR_EXPORT_NO_ROOM", "trivy", "import", bundle, "--cache-dir", str(disk / "a" / "b"))
    assert [path.name for path in disk.iterdir()] == ["db"]
