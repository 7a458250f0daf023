"""A tar file from a server is taken only where every file in it is what the run says."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from stellaops.client.downloads import _demand_whole
from stellaops.client.errors import DownloadCorrupt


def tar_of(place: Path, **files: bytes) -> Path:
    path = place / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            told = tarfile.TarInfo(f"run-1/{name}")
            told.size = len(data)
            tar.addfile(told, io.BytesIO(data))
    return path


WANTED = {"a": (hashlib.sha256(b"one").hexdigest(), 3), "sig": (None, None)}


def test_a_whole_one_is_taken(tmp_path: Path) -> None:
    _demand_whole("run-1/", WANTED, tar_of(tmp_path, a=b"one", sig=b"any"))


@pytest.mark.parametrize("files", [{"a": b"two", "sig": b"any"}, {"a": b"one"}, {"sig": b"any"}, {}])
def test_one_with_a_wrong_or_missing_file_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(DownloadCorrupt):
        _demand_whole("run-1/", WANTED, tar_of(tmp_path, **files))


def test_one_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path, a=b"one", sig=b"any" * 400)
    path.write_bytes(path.read_bytes()[:1700])
    with pytest.raises(DownloadCorrupt):
        _demand_whole("run-1/", WANTED, path)
