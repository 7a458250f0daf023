"""Imports onto disks that are full or cannot be written: a clear error, and the next command goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.importing import Answer, failed, imported, is_sound, older_and_newer, state, stella

MIB = 1 << 20


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


def run(data: Path, archive: Path) -> Answer:
    return stella(data, "concelier", "import", archive, "--source", "pypa")


@pytest.mark.parametrize("room", [0, 4])
def test_a_full_disk_is_a_clear_error_and_with_room_the_import_goes_on(
    small_disk: Callable[[int], Path], tmp_path: Path, room: int
) -> None:
    older, newer = older_and_newer(tmp_path, 4000)
    imported(tmp_path / "elsewhere", newer, "--source", "pypa")
    disk = small_disk(96 * MIB)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes((96 - room) * MIB - 64 * 1024))
    data = disk / "data"
    failed(run(data, newer), 5, "ERR_STORE_FULL")
    failed(run(data, newer), 5, "ERR_STORE_FULL")
    ballast.unlink()
    answer = run(data, newer)
    assert answer.code == 0, answer.err
    assert state(data) == state(tmp_path / "elsewhere")
    assert is_sound(data)
    assert older.exists()


@pytest.mark.slow
def test_a_disk_that_fills_up_in_an_update_leaves_the_earlier_state_readable(
    small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    older, newer = older_and_newer(tmp_path, 4000)
    disk = small_disk(96 * MIB)
    data = disk / "data"
    imported(data, older, "--source", "pypa")
    documents = stella(data, "concelier", "status").value["sources"][0]["documents"]
    (disk / "ballast").write_bytes(b"")
    free = int(subprocess.check_output(["stat", "-f", "-c", "%a", str(disk)])) * 4096
    (disk / "ballast").write_bytes(bytes(free - MIB))
    failed(run(data, newer), 5, "ERR_STORE_FULL")
    (disk / "ballast").unlink()
    assert stella(data, "concelier", "status").value["sources"][0]["documents"] == documents
    assert run(data, newer).code == 0
    imported(tmp_path / "elsewhere", older, "--source", "pypa")
    imported(tmp_path / "elsewhere", newer, "--source", "pypa")
    assert state(data) == state(tmp_path / "elsewhere")


def test_a_data_directory_that_cannot_be_written_is_a_clear_error(
    small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    older, newer = older_and_newer(tmp_path, 300)
    disk = small_disk(64 * MIB)
    remount(disk, "ro")
    failed(run(disk / "data", older), 5, "ERR_STORE_READ_ONLY")
    remount(disk, "rw")
    imported(disk / "data", older, "--source", "pypa")
    before = state(disk / "data")
    remount(disk, "ro")
    failed(run(disk / "data", newer), 5, "ERR_STORE_READ_ONLY")
    remount(disk, "rw")
    assert state(disk / "data") == before
    assert run(disk / "data", newer).code == 0


def test_a_data_directory_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    older, _ = older_and_newer(tmp_path, 10)
    (tmp_path / "data").write_text("in the way")
    failed(run(tmp_path / "data", older), 5, "ERR_STORE_READ_ONLY")


def test_a_damaged_store_is_told_from_a_full_or_busy_one(tmp_path: Path) -> None:
    older, _ = older_and_newer(tmp_path, 10)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "evidence.db").write_bytes(b"this is no database, but it is long enough " * 100)
    failed(run(tmp_path / "data", older), 6, "ERR_STORE_DAMAGED")
