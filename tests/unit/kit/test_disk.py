"""What disks refuse, in words that name the right place."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from stellaops.adapters.files.workspace import copy_bundle
from stellaops.kit import chunks
from stellaops.kit.disk import NoRoom, disk_errors, made


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    place = tmp_path / "bundle"
    (place / "trivy").mkdir(parents=True)
    (place / "trivy" / "db.bundle").write_bytes(bytes(1 << 20))
    return place


def test_a_copy_to_a_full_disk_names_where_it_was_to_go(
    bundle: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(64 << 10)
    target = disk / "sub" / "out"
    with pytest.raises(NoRoom) as caught:
        copy_bundle(bundle, target)
    assert caught.value.what == f"{target}: the disk is full"
    assert list(disk.iterdir()) == []


def test_joining_onto_a_full_disk_names_where_it_was_to_go(
    bundle: Path, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(64 << 10)
    chunks.split([bundle / "trivy" / "db.bundle"], tmp_path / "cut", 1 << 18)
    with pytest.raises(NoRoom) as caught:
        chunks.join([tmp_path / "cut"], disk / "out")
    assert caught.value.what == f"{disk / 'out'}: the disk is full"
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "full"), "/to/out"),
        (OSError(errno.ENOSPC, "full", "/from/db", None, "/to/.out.partial-7/db"), "/to/out"),
        (OSError(errno.ENOSPC, "full", "/from/db", None, "/elsewhere/db"), "/elsewhere/db"),
        (OSError(errno.EACCES, "no", "/to/out/below"), "/to/out/below"),
    ],
)
def test_of_two_names_the_one_that_was_written_is_told(error: OSError, named: str) -> None:
    with pytest.raises(NoRoom, match=f"^{named}: "), disk_errors(Path("/to/out")):
        raise error


def fail_in(place: Path, *names: str) -> None:
    with made(place):
        for name in names:
            (place / name).touch()
        raise NoRoom("full")


def test_a_directory_made_for_what_fails_goes_again_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for place, names in ((tmp_path / "a" / "b", ()), (tmp_path / "kept", ()), (tmp_path / "c", ("file",))):
        with pytest.raises(NoRoom):
            fail_in(place, *names)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["c", "kept"]
    assert (tmp_path / "c" / "file").exists()
