from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable, Iterable, Iterator

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from stellaops.bundles import packed
from stellaops.bundles.packed import BadPacking
from tests.unit.kit.small_bundle import tar

Unpack = Callable[[Iterable[bytes], int], Iterator[bytes]]
FORMS = pytest.mark.parametrize(
    ("pack", "unpack"), [(zstd.compress, packed.unzstd), (gzip.compress, packed.gunzip)]
)
_PIECES = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        size = sizes[place % len(sizes)]
        yield data[place : place + size]
        place += size


@FORMS
@given(data=st.binary(max_size=3000), sizes=_PIECES)
def test_what_is_packed_comes_out_however_it_arrives(
    pack: Callable[[bytes], bytes], unpack: Unpack, data: bytes, sizes: list[int]
) -> None:
    assert b"".join(unpack(cut(pack(data), sizes), len(data))) == data


@FORMS
def test_a_bomb_stops_at_the_limit_and_comes_in_small_pieces(
    pack: Callable[[bytes], bytes], unpack: Unpack
) -> None:
    pieces = unpack([pack(bytes(50 * packed.CHUNK))], 3 * packed.CHUNK)
    taken: list[int] = []
    with pytest.raises(BadPacking, match="unpacks to more than"):
        taken.extend(len(piece) for piece in pieces)
    assert max(taken) <= packed.CHUNK
    assert sum(taken) <= 3 * packed.CHUNK


@FORMS
@given(
    data=st.binary(min_size=1, max_size=200), place=st.integers(0), extra=st.binary(min_size=1, max_size=30)
)
def test_cut_short_or_followed_by_anything_is_refused(
    pack: Callable[[bytes], bytes], unpack: Unpack, data: bytes, place: int, extra: bytes
) -> None:
    whole = pack(data)
    for wrong in (whole[: place % len(whole)], whole + extra):
        with pytest.raises(BadPacking):
            list(unpack([wrong], 10_000))
    with pytest.raises(BadPacking):
        list(unpack([whole, extra], 10_000))


def test_zstd_is_one_frame_and_gzip_any_number_of_members() -> None:
    frame = zstd.compress(b"one")
    with pytest.raises(BadPacking, match="something follows"):
        list(packed.unzstd([frame, frame], 100))
    member = gzip.compress(b"one", mtime=0)
    for chunks in ([member, member], [member + member], [bytes([byte]) for byte in member + member]):
        assert b"".join(packed.gunzip(chunks, 100)) == b"oneone"


@given(data=st.binary(max_size=3000), level=st.integers(0, 9))
def test_gzip_output_that_fills_a_piece_exactly_is_complete(data: bytes, level: int) -> None:
    whole = bytes(2 * packed.CHUNK) + data
    assert b"".join(packed.gunzip([gzip.compress(whole, level)], 10 * packed.CHUNK)) == whole


@given(lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b""))), sizes=_PIECES)
def test_lines_come_out_however_they_are_cut(lines: list[bytes], sizes: list[int]) -> None:
    assert list(packed.lines(cut(b"".join(line + b"\n" for line in lines), sizes))) == lines


def test_a_line_that_is_too_long_or_has_no_end_is_refused() -> None:
    with pytest.raises(BadPacking, match="longer than 10"):
        list(packed.lines([b"12345", b"678901"], longest=10))
    with pytest.raises(BadPacking, match="longer than 10"):
        list(packed.lines([b"1\n12345678901\n2\n"], longest=10))
    with pytest.raises(BadPacking, match="no newline"):
        list(packed.lines([b"12345"]))


@given(
    members=st.dictionaries(st.from_regex(r"[a-z]{1,20}", fullmatch=True), st.binary(max_size=1500)),
    sizes=_PIECES,
)
def test_a_tar_gives_its_members_however_it_is_cut(members: dict[str, bytes], sizes: list[int]) -> None:
    found = {each.name: b"".join(each.chunks) for each in packed.untar(cut(tar(members), sizes))}
    assert found == members


@given(data=st.binary(max_size=2048))
def test_any_bytes_are_a_tar_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadPacking):
        assert all(len(b"".join(member.chunks)) == member.size for member in packed.untar([data]))


@given(place=st.integers(0), flip=st.integers(1, 255))
def test_a_flipped_byte_in_a_tar_never_raises_anything_else(place: int, flip: int) -> None:
    data = bytearray(tar({"a": b"1" * 600, "b": b"2"}))
    data[place % len(data)] ^= flip
    with contextlib.suppress(BadPacking):
        assert all(len(b"".join(member.chunks)) == member.size for member in packed.untar([bytes(data)]))
