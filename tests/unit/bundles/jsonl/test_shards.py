"""Row sets: what is written is read back, shards are cut where the content says, and cuts change no digest."""

from __future__ import annotations

import errno
import hashlib
import io
import threading
from collections.abc import Iterable

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from stellaops.bundles import rows
from stellaops.bundles.content import Content, RowsOutOfOrder
from stellaops.bundles.jsonl import shards
from stellaops.bundles.jsonl.shards import Line, raw_line, write_row_set
from stellaops.core import digests

RAW, INDEX = "data/raw/advisories", "indexes/advisories"


class Files:
    """Files in memory, by path, in the order in which they were made."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def open(self, path: str) -> io.BytesIO:
        assert path not in self.content
        files = self.content
        files[path] = b""

        class Kept(io.BytesIO):
            def close(self) -> None:
                files[path] = self.getvalue()
                super().close()

        return Kept()

    def lines(self) -> list[bytes]:
        return [line for data in self.content.values() for line in zstd.decompress(data).splitlines()]


def line(key: str, text: bytes = b"{}", source: str = "s") -> Line:
    return Line("", source, key, text)


def cuts(key: str) -> bool:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:2], "big") % 4096 == 0


CUTTING = [key for key in map(str, range(40_000)) if cuts(key)]


def write(name: str, lines: Iterable[Line]) -> tuple[Files, Content]:
    files = Files()
    return files, write_row_set(name, lines, files.open)


@given(keys=st.sets(st.text(max_size=8) | st.sampled_from(CUTTING), max_size=30), body=st.binary(max_size=20))
def test_lines_come_back_in_their_order(keys: set[str], body: bytes) -> None:
    texts = {
        key: b'"%b"' % (key.encode("utf-8", "surrogatepass").hex().encode() + body.hex().encode())
        for key in keys
    }
    ordered = [line(key, texts[key]) for key in sorted(keys)]
    for name in (RAW, INDEX):
        files, content = write(name, ordered)
        assert files.lines() == [each.text for each in ordered]
        assert content.records == len(keys)


def test_a_shard_ends_before_a_key_that_cuts_and_nowhere_else() -> None:
    keys = sorted({*map(str, range(300)), *CUTTING[:2]})
    files, _ = write(RAW, map(line, keys))
    expected = 1 + sum(cuts(key) for key in keys[1:])
    assert expected >= 2
    assert list(files.content) == [f"{RAW}/{number:05d}.jsonl.zst" for number in range(expected)]


def test_a_change_touches_only_its_own_shard() -> None:
    keys = sorted({*map(str, range(400)), *CUTTING[:3]})
    before, _ = write(RAW, map(line, keys))
    after, _ = write(RAW, [line(key, b'{"n":1}' if key == keys[0] else b"{}") for key in keys])
    assert [path for path in before.content if before.content[path] != after.content[path]] == [
        f"{RAW}/00000.jsonl.zst"
    ]


def test_a_shard_that_grows_too_large_is_cut_all_the_same_and_the_digest_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [line(f"{number:03d}", b'"%b"' % (b"x" * 98)) for number in range(10)]
    whole, content = write(RAW, lines)
    monkeypatch.setattr(shards, "SHARD_BYTES", 303)
    cut, same = write(RAW, lines)
    assert len(whole.content) == 1
    assert [len(zstd.decompress(data)) for data in cut.content.values()] == [303, 303, 303, 101]
    assert same.content_digest == content.content_digest


def test_an_index_is_one_file_even_of_nothing_and_raw_data_of_nothing_are_no_file() -> None:
    assert list(write(INDEX, map(line, sorted(CUTTING[:5])))[0].content) == [f"{INDEX}.index.jsonl.zst"]
    files, content = write(INDEX, [])
    assert files.lines() == []
    assert list(files.content) == [f"{INDEX}.index.jsonl.zst"]
    assert content.records == 0
    assert write(RAW, [])[0].content == {}


@pytest.mark.parametrize("keys", [("b", "a"), ("a", "a")])
def test_lines_out_of_order_are_refused(keys: tuple[str, ...]) -> None:
    with pytest.raises(RowsOutOfOrder):
        write(RAW, map(line, keys))


def test_a_file_is_one_frame_with_a_checksum_whatever_the_number_of_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [
        line(f"{number:05d}", hashlib.sha512(b"%d" % number).hexdigest().encode() * 40)
        for number in range(900)
    ]
    files, _ = write(INDEX, lines)
    (data,) = files.content.values()
    decompressor = zstd.ZstdDecompressor()
    decompressor.decompress(data)
    assert decompressor.eof
    assert decompressor.unused_data == b""
    assert data[4] & 0b100  # the frame header's checksum flag
    workers = zstd.CompressionParameter.nb_workers
    for number in (1, 4):
        monkeypatch.setitem(shards.ZSTD_OPTIONS, workers, number)
        assert list(write(INDEX, lines)[0].content.values()) == [data]


@given(
    key=st.text(max_size=8),
    source=st.text(max_size=8),
    body=st.sampled_from([b"{}", b'{"a":1.5}', b'"\\u0000"']),
)
def test_a_raw_line_is_in_the_form_that_readers_demand(key: str, source: str, body: bytes) -> None:
    digest, raw = digests.sha256(body), digests.sha256(b"raw")
    for verbatim in (False, True):
        row = rows.parse_raw(raw_line(source, key, digest, raw, body, verbatim=verbatim))
        assert (row.source, row.key, row.digest) == (source, key, digest)


class _Full(io.BytesIO):
    """A file on a disk that gets full."""

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def _end_all(out: list[io.BytesIO]) -> None:
    """End a frame in each, until one cannot be ended; what is left in the list was not begun."""
    with shards.Endings() as endings:
        while out:
            frame = shards.LineFile(out.pop(0))
            frame.write(b"{}")
            endings.end(frame)


@pytest.mark.parametrize("place", range(5))
def test_a_file_that_cannot_be_ended_is_told_and_every_file_is_closed(place: int) -> None:
    files = [_Full() if number == place else io.BytesIO() for number in range(5)]
    before, left = threading.active_count(), files.copy()
    with pytest.raises(OSError, match="No space left"):
        _end_all(left)
    begun = files[: len(files) - len(left)]
    assert len(begun) > place
    assert all(file.closed for file in begun)
    assert threading.active_count() == before
