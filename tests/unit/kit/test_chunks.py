"""Files cut to the size of a medium come together again as they were, or not at all."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from stellaops.core.errors import InvalidInput
from stellaops.kit import chunks
from stellaops.kit.chunks import BadChunkSize, ChunkDamaged, ChunkMissing

SIZE = chunks.SMALLEST


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = []
    for name, size in (("empty", 0), ("small", 10), ("exact", 2 * SIZE), ("large", 3 * SIZE + 7)):
        made.append(tmp_path / name)
        made[-1].write_bytes(os.urandom(size))
    return made


def test_what_was_cut_comes_together_again(files: list[Path], tmp_path: Path) -> None:
    contents = chunks.split(files, tmp_path / "media", SIZE)
    assert {file.name: len(file.chunks) for file in contents.files} == {
        "empty": 1,
        "small": 1,
        "exact": 2,
        "large": 4,
    }
    assert max(path.stat().st_size for path in (tmp_path / "media").glob("*.part*")) == SIZE
    joined = chunks.join([tmp_path / "media"], tmp_path / "out")
    assert sorted(path.name for path in joined) == sorted(path.name for path in files)
    for file in files:
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()


def test_chunks_may_lie_on_several_media(files: list[Path], tmp_path: Path) -> None:
    chunks.split(files, tmp_path / "one", SIZE)
    places = [tmp_path / "one", tmp_path / "two"]
    places[1].mkdir()
    for number, path in enumerate(sorted(places[0].glob("*.part*"))):
        if number % 2:
            path.rename(places[1] / path.name)
    with pytest.raises(ChunkMissing, match="4 chunks are missing"):
        chunks.join(places[:1], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    chunks.join(places[::-1], tmp_path / "out")
    assert (tmp_path / "out" / "large").read_bytes() == files[3].read_bytes()


def test_any_changed_byte_is_found_and_nothing_is_put_together(files: list[Path], tmp_path: Path) -> None:
    chunks.split(files, tmp_path / "media", SIZE)
    whole = random.Random(1)
    for path in sorted((tmp_path / "media").iterdir()):
        before = path.read_bytes()
        if not before:
            continue
        changed = bytearray(before)
        changed[whole.randrange(len(changed))] ^= 1
        path.write_bytes(changed)
        with pytest.raises((ChunkDamaged, ChunkMissing)):
            chunks.join([tmp_path / "media"], tmp_path / "out")
        path.write_bytes(before)
        name = path.name.partition(".part")[0]
        assert not (tmp_path / "out" / name).exists() or path.name == chunks.CONTENTS
        assert not list((tmp_path / "out").glob(".*")) if (tmp_path / "out").exists() else True
        for each in (tmp_path / "out").glob("*"):
            each.unlink()


def test_joining_again_leaves_what_is_there(files: list[Path], tmp_path: Path) -> None:
    chunks.split(files, tmp_path / "media", SIZE)
    (first, *_) = chunks.join([tmp_path / "media"], tmp_path / "out")
    before = first.stat().st_mtime_ns
    chunks.join([tmp_path / "media"], tmp_path / "out")
    assert first.stat().st_mtime_ns == before


def test_a_directory_without_its_table_is_unfinished(files: list[Path], tmp_path: Path) -> None:
    chunks.split(files, tmp_path / "media", SIZE)
    (tmp_path / "media" / chunks.CONTENTS).unlink()
    with pytest.raises(ChunkMissing, match=chunks.CONTENTS):
        chunks.join([tmp_path / "media"], tmp_path / "out")


def test_names_that_leave_the_directory_are_refused(files: list[Path], tmp_path: Path) -> None:
    contents = chunks.split(files[:1], tmp_path / "media", SIZE)
    data = chunks.encode(contents)
    for name in (b"../empty", b"/empty", b"a/b", b".."):
        with pytest.raises(ChunkDamaged):
            chunks.parse(data.replace(b'"empty"', b'"' + name + b'"'))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "x", tmp_path / "a" / "x"):
        path.write_bytes(b"")
    with pytest.raises(InvalidInput, match="one name"):
        chunks.split([tmp_path / "x", tmp_path / "a" / "x"], tmp_path / "media", SIZE)


@pytest.mark.parametrize(
    ("text", "size"), [("64K", 1 << 16), ("650M", 650 << 20), ("4g", 4 << 30), ("4000000000", 4_000_000_000)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert chunks.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "1K", "-4G", "4X", "4.5G", "G", "٣M"])
def test_texts_that_are_no_sizes_are_refused(text: str) -> None:
    with pytest.raises(BadChunkSize):
        chunks.parse_size(text)
