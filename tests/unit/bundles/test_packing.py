"""Zip archives and packed forms that other programs read, with the same bytes each time."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
import zlib
from pathlib import Path

import pytest
from backports import zstd

from stellaops.bundles import precompressed
from stellaops.bundles.precompressed import pack_beside
from stellaops.bundles.zip_writer import ZipWriter, pack


def archive(members: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    writer = ZipWriter(out)
    for name, data in members.items():
        writer.add(name, pack(data))
    writer.finish()
    return out


def test_an_archive_is_read_by_others_and_is_the_same_each_time() -> None:
    members = {"a.json": b"{}" * 500, "b/é.json": b"", "c.bin": random.Random(1).randbytes(3000)}
    made = archive(members)
    with zipfile.ZipFile(made) as found:
        assert found.testzip() is None
        assert {name: found.read(name) for name in found.namelist()} == members
        assert {each.date_time for each in found.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert archive(members).getvalue() == made.getvalue()


def test_an_archive_may_be_empty_or_have_more_members_than_the_old_format_counts() -> None:
    with zipfile.ZipFile(archive({})) as found:
        assert found.namelist() == []
    many = {f"{number}.json": b"{}" for number in range(66_000)}
    with zipfile.ZipFile(archive(many)) as found:
        assert len(found.namelist()) == 66_000
        assert found.read("65999.json") == b"{}"


@pytest.mark.parametrize("whole", [1 << 24, 1 << 12])
def test_packed_forms_are_one_member_and_one_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr(precompressed, "_WHOLE", whole)
    data = b"".join(b"line %d\n" % number for number in range(200_000))
    file = tmp_path / "index.json"
    file.write_bytes(data)
    packed, framed = pack_beside(file)
    reader = zlib.decompressobj(31)
    assert reader.decompress(packed.read_bytes()) == data
    assert (reader.eof, reader.unused_data) == (True, b"")
    assert gzip.decompress(packed.read_bytes()) == data
    frame = zstd.ZstdDecompressor()
    assert frame.decompress(framed.read_bytes()) == data
    assert (frame.eof, frame.unused_data) == (True, b"")


def test_what_does_not_shrink_or_is_small_is_not_packed(tmp_path: Path) -> None:
    for name, data in (("small", b"a" * 1024), ("random", random.Random(2).randbytes(5000))):
        (tmp_path / name).write_bytes(data)
        assert pack_beside(tmp_path / name) == ()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["random", "small"]
