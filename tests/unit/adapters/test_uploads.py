"""Uploads: what arrives is what stood here, and nothing that arrives leaves its place."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.adapters.files.inputs import ArchiveDamaged, FileInputs, InputMissing
from stellaops.adapters.files.uploads import BadUpload, opened, pack
from stellaops.core.errors import StellaError
from stellaops.ingest.ports import Member


def seen(members: Sequence[Member]) -> list[tuple[str, bytes, str]]:
    return [(each.path, each.content, each.problem) for each in members]


def packed(place: Path, paths: Sequence[Path], keys: Sequence[bytes] = ()) -> Path:
    body = place / "body"
    with body.open("wb") as out:
        pack(out, paths, keys)
    return body


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "here" / "feed"
    (root / "deep" / ".git").mkdir(parents=True)
    (root / "a.json").write_text("{}")
    (root / "deep" / "ü.json").write_text("[]")
    (root / "deep" / ".git" / "config").write_text("not this")
    (root / "link.json").symlink_to(root / "a.json")
    (root / "packed.json.gz").write_bytes(gzip.compress(b'{"packed": 1}'))
    with zipfile.ZipFile(root / "deep" / "all.zip", "w") as archive:
        archive.writestr("x/y.json", "{}")
    return root


def test_folders_and_files_arrive_as_if_they_were_read_here(tmp_path: Path, folder: Path) -> None:
    paths = [folder, folder / "a.json", folder / "deep" / "all.zip", folder / "deep"]
    here = seen(list(FileInputs(paths).members()))
    assert len(here) == 8
    with opened(tmp_path / "there", packed(tmp_path, paths, [b"key 1", b"key 2"]), "key", None) as inputs:
        there = list(inputs.members())
        assert sorted(seen(there)) == sorted(here)
        assert inputs.openpgp_keys == (b"key 1", b"key 2")
        assert all(each.container_url.startswith("upload:") for each in there)
        assert not any(str(tmp_path) in each.container_url for each in there)
    assert list((tmp_path / "there").iterdir()) == []


def test_one_file_keeps_its_name(tmp_path: Path, folder: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes((folder / "deep" / "all.zip").read_bytes())
    with opened(tmp_path / "there", body, "key", "all.zip") as inputs:
        (member,) = inputs.members()
    assert (member.path, member.container_url) == ("x/y.json", "upload:all.zip")


def test_the_same_upload_can_be_gone_on_with(tmp_path: Path, folder: Path) -> None:
    """The fingerprint, by which an import that was cut off is known again, is the same the next time."""
    prints = []
    for _ in range(2):
        with opened(tmp_path / "there", packed(tmp_path, [folder]), "key", None) as inputs:
            prints.append(inputs.fingerprint())
    assert prints[0] == prints[1]


def test_what_is_not_there_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        pack(io.BytesIO(), [tmp_path / "none"])


def hostile(place: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    body = place / "body"
    with tarfile.open(body, "w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        info.size = 1 if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(b"x"))
    return body


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "0/../../x", "0/..", "x/y", "file", "0", "-1/x", "1e3/x", "."]
)
def test_a_tar_that_leaves_its_place_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadUpload), opened(tmp_path / "there", hostile(tmp_path, name), "key", None):
        pass
    assert not any(path.is_file() and path.read_bytes() == b"x" for path in tmp_path.rglob("x"))
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_tar_with_links_or_devices_is_refused(tmp_path: Path, kind: bytes) -> None:
    body = hostile(tmp_path, "0/x", kind, "/etc/passwd")
    with pytest.raises(BadUpload), opened(tmp_path / "there", body, "key", None):
        pass


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 300])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "body").write_bytes(b"{}")
    with pytest.raises(BadUpload), opened(tmp_path / "there", tmp_path / "body", "key", name):
        pass


def test_an_error_does_not_tell_where_the_server_keeps_uploads(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"PK not really")
    with (
        pytest.raises(ArchiveDamaged) as raised,
        opened(tmp_path / "there", tmp_path / "body", "key", "all.zip") as inputs,
    ):
        list(inputs.members())
    assert raised.value.what.startswith("all.zip")
    assert str(tmp_path) not in raised.value.what


@given(st.binary(max_size=2000), st.sampled_from([None, "a.json", "a.zip", "a.tar.gz"]))
def test_bytes_of_any_kind_end_in_an_error_of_ours_or_in_members(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str | None
) -> None:
    place = tmp_path_factory.mktemp("upload")
    (place / "body").write_bytes(data)
    try:
        with opened(place / "there", place / "body", "key", name) as inputs:
            list(inputs.members())
    except StellaError:
        pass
    assert list((place / "there").iterdir()) == []


def test_an_empty_tar_holds_nothing_to_import(tmp_path: Path) -> None:
    with pytest.raises(BadUpload), opened(tmp_path / "there", packed(tmp_path, []), "key", None):
        pass
