"""The zip reader: what the standard library reads, it reads; what lies is refused, for the entry or for the archive."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from stellaops.adapters.files.zip_stream import BadZip, Entry, entries

LIMIT = 1 << 20


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.comment = comment
    return buffer.getvalue()


def read(tmp_path: Path, data: bytes, limit: int = LIMIT) -> list[Entry]:
    file = tmp_path / "x.zip"
    file.write_bytes(data)
    return list(entries(file, limit=limit))


def central(data: bytes, number: int = 0) -> int:
    """Where the n-th entry of the central directory begins."""
    place = data.index(b"PK\x01\x02")
    for _ in range(number):
        place = data.index(b"PK\x01\x02", place + 4)
    return place


def patched(data: bytes, place: int, form: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, place, *values)
    return bytes(changed)


def end(data: bytes) -> int:
    return data.rindex(b"PK\x05\x06")


def test_files_come_in_the_order_of_the_directory_without_folders(tmp_path: Path) -> None:
    data = zipped({"b/": b"", "b/2.json": b"two", "a.json": b"one", "empty": b""})
    assert read(tmp_path, data) == [Entry("b/2.json", b"two"), Entry("a.json", b"one"), Entry("empty", b"")]


def test_files_that_are_not_wanted_are_passed_over_and_never_unpacked(tmp_path: Path) -> None:
    data = zipped({"a.json": b"one" * 99, "b.json": b"two", "c.json": b"three"})
    place = data.index(b"a.json") + 10
    damaged = data[:place] + b"\xff\xff" + data[place + 2 :]
    file = tmp_path / "x.zip"
    file.write_bytes(damaged)
    assert list(entries(file, limit=LIMIT, wanted="c.json".__eq__)) == [Entry("c.json", b"three")]
    assert [each.problem != "" for each in entries(file, limit=LIMIT)] == [True, False, False]


def test_an_empty_archive_has_no_entries(tmp_path: Path) -> None:
    assert read(tmp_path, zipped({})) == []


names = st.text(st.characters(codec="utf-8", exclude_characters="\0/\\"), min_size=1, max_size=12)
archives = st.dictionaries(
    names, st.binary(max_size=300) | st.binary(max_size=20).map(lambda b: b * 500), max_size=6
)
methods = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])


@given(archives, methods, st.binary(max_size=50), st.binary(max_size=30))
@settings(max_examples=80)
def test_any_archive_reads_as_the_standard_library_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    files: dict[str, bytes],
    method: int,
    comment: bytes,
    before: bytes,
) -> None:
    if b"PK" in comment:
        comment = b""
    data = before + zipped(files, method, comment)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            expected = [Entry(info.filename, archive.read(info)) for info in archive.infolist()]
    except zipfile.BadZipFile:
        reject()  # the library takes what stands before some directories for a part of them
    assert read(tmp_path_factory.mktemp("zip"), data) == expected


def test_an_archive_with_more_entries_than_the_old_form_counts_is_read_whole(tmp_path: Path) -> None:
    data = zipped({f"{number}": b"" for number in range(65_600)}, zipfile.ZIP_STORED)
    assert b"PK\x06\x06" in data
    assert len(read(tmp_path, data)) == 65_600


def test_zip64_sizes_and_streamed_entries_are_read(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            piece = bytes(data)  # type: ignore[call-overload]
            self.data += piece
            return len(piece)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("big.json", "w", force_zip64=True) as entry:
            entry.write(b"content" * 1000)
        archive.writestr("small.json", b"x")
    assert read(tmp_path, pipe.data) == [Entry("big.json", b"content" * 1000), Entry("small.json", b"x")]


def test_zip64_fields_of_the_directory_are_read(tmp_path: Path) -> None:
    data = zipped({"a": b"hello"}, zipfile.ZIP_STORED)
    place = central(data)
    extra = struct.pack("<HHQQQ", 1, 24, 5, 5, 0)
    header = patched(data[place : place + 46], 20, "<LL", 0xFFFFFFFF, 0xFFFFFFFF)
    header = patched(patched(header, 30, "<H", len(extra)), 42, "<L", 0xFFFFFFFF)
    tail = patched(data[end(data) :], 12, "<L", 47 + len(extra))
    assert read(tmp_path, data[:place] + header + b"a" + extra + tail) == [Entry("a", b"hello")]


def test_names_of_old_archives_are_cp437(tmp_path: Path) -> None:
    data = zipped({"x.json": b""}).replace(b"x.json", b"\x81.json")
    assert [entry.name for entry in read(tmp_path, data)] == ["ü.json"]


def problem(tmp_path: Path, data: bytes, limit: int = LIMIT) -> str:
    """What is said of the only broken entry; its content is not given out, the others are."""
    found = read(tmp_path, data, limit)
    (broken,) = (entry for entry in found if entry.problem)
    assert broken.content == b""
    assert all(entry.content for entry in found if entry is not broken)
    return broken.problem


def test_a_bomb_is_refused_by_what_it_claims_and_by_what_it_unpacks_to(tmp_path: Path) -> None:
    bomb = zipped({"bomb": b"\0" * (LIMIT + 1), "good": b"x"})
    assert problem(tmp_path, bomb).startswith("too-large")
    lying = patched(bomb, central(bomb) + 24, "<L", 100)
    assert problem(tmp_path, lying).startswith("damaged")
    assert read(tmp_path, zipped({"full": b"\0" * LIMIT}))[0].problem == ""


def test_no_memory_is_reserved_for_a_claim_that_no_packed_bytes_can_keep(tmp_path: Path) -> None:
    lying = zipped({"a": b"hello" * 10, "good": b"x"})
    found = problem(tmp_path, patched(lying, central(lying) + 24, "<L", LIMIT))
    assert found.startswith("damaged")
    assert "cannot be" in found


@pytest.mark.parametrize("size", [0, 4, 6, 500_000])
def test_an_entry_that_lies_about_its_unpacked_size_is_damaged(tmp_path: Path, size: int) -> None:
    data = zipped({"a": b"hello" * 10, "good": b"x"})
    assert problem(tmp_path, patched(data, central(data) + 24, "<L", size)).startswith("damaged")


@pytest.mark.parametrize("size", [0, 1, 20])
def test_an_entry_that_lies_about_its_packed_size_is_damaged(tmp_path: Path, size: int) -> None:
    data = zipped({"a": bytes(range(50)) * 2, "good": bytes(range(200))})
    assert problem(tmp_path, patched(data, central(data) + 20, "<L", size)).startswith("damaged")


@pytest.mark.parametrize("size", [100_000, 0xFFFFFFFF])
def test_an_entry_that_claims_to_lie_outside_the_file_is_refused(tmp_path: Path, size: int) -> None:
    data = zipped({"a": b"hello", "good": b"x"}, zipfile.ZIP_STORED)
    found = problem(tmp_path, patched(data, central(data) + 20, "<L", size))
    assert found.startswith(("damaged", "too-large"))


def test_a_wrong_checksum_or_a_flipped_byte_is_damage(tmp_path: Path) -> None:
    data = zipped({"a": b"hello", "good": b"x"}, zipfile.ZIP_STORED)
    assert problem(tmp_path, patched(data, central(data) + 16, "<L", 1)).startswith("damaged")
    assert problem(tmp_path, data.replace(b"hello", b"hellp")).startswith("damaged")


def test_an_entry_whose_header_is_elsewhere_is_damaged(tmp_path: Path) -> None:
    data = zipped({"a": b"hello", "good": b"x"})
    for offset in (3, len(data) - 4, 0xFFFFFFF0):
        assert problem(tmp_path, patched(data, central(data) + 42, "<L", offset)).startswith("damaged")


def test_encrypted_entries_links_and_strange_methods_are_refused(tmp_path: Path) -> None:
    data = zipped({"a": b"hello", "good": b"x"}, zipfile.ZIP_STORED)
    place = central(data)
    assert problem(tmp_path, patched(data, place + 8, "<H", 1)).startswith("encrypted")
    assert problem(tmp_path, patched(data, place + 38, "<L", 0o120777 << 16)).startswith("not-a-file")
    assert problem(tmp_path, patched(data, place + 38, "<L", 0o020666 << 16)).startswith("not-a-file")
    assert problem(tmp_path, patched(data, place + 10, "<H", 99)).startswith("unsupported")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert read(tmp_path, zipped({"a": b"x"}, method))[0].problem.startswith("unsupported")


def test_entries_that_share_their_bytes_are_a_bomb(tmp_path: Path) -> None:
    """Many entries of the directory over one place in the file: small to fetch, endless to unpack."""
    data = zipped({"a": b"\0" * 500_000})
    place, tail = central(data), end(data)
    entry = data[place:tail]
    many = data[:place] + entry * 50
    counts = patched(data[tail:], 8, "<HHLL", 50, 50, len(entry) * 50, place)
    with pytest.raises(BadZip, match="overlap"):
        read(tmp_path, many + counts)


@pytest.mark.parametrize("count", [0, 1, 3, 65_535])
def test_an_archive_that_lies_about_the_number_of_its_entries_is_refused(tmp_path: Path, count: int) -> None:
    data = zipped({"a": b"hello", "b": b"x"})
    with pytest.raises(BadZip):
        read(tmp_path, patched(data, end(data) + 8, "<HH", count, count))


@pytest.mark.parametrize("change", [-46, -1, 1, 10, 1_000_000])
def test_an_archive_that_lies_about_the_size_of_its_directory_is_refused(tmp_path: Path, change: int) -> None:
    data = zipped({"a": b"hello", "b": b"x"})
    size = struct.unpack_from("<L", data, end(data) + 12)[0]
    with pytest.raises(BadZip):
        read(tmp_path, patched(data, end(data) + 12, "<L", size + change))


def test_a_damaged_directory_is_refused(tmp_path: Path) -> None:
    data = zipped({"a": b"hello", "b": b"x"})
    for place in (central(data), central(data, 1)):
        with pytest.raises(BadZip):
            read(tmp_path, patched(data, place, "<L", 0))
        with pytest.raises(BadZip):
            read(tmp_path, patched(data, place + 28, "<H", 60_000))
    zip64 = zipped({f"{number}": b"" for number in range(65_540)}, zipfile.ZIP_STORED)
    with pytest.raises(BadZip, match="zip64"):
        read(tmp_path, zip64.replace(b"PK\x06\x06", b"PK\x06\x09"))


def test_an_archive_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    data = zipped({"a": b"hello" * 100, "b": b"x"})
    for length in range(1, len(data), 7):
        with pytest.raises(BadZip):
            read(tmp_path, data[:length])


@given(st.binary(min_size=1, max_size=400))
@settings(max_examples=60)
def test_bytes_that_are_no_archive_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    with pytest.raises(BadZip):
        read(tmp_path_factory.mktemp("zip"), data.replace(b"PK", b"KP"))


@given(st.data())
@settings(max_examples=200)
def test_any_changed_byte_is_noticed_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """No flip crashes the reader, and none passes changed content as whole."""
    contents = {"a.json": b"hello" * 20, "b.json": bytes(range(256))}
    good = zipped(contents)
    place = data.draw(st.integers(0, len(good) - 1))
    broken = patched(good, place, "<B", data.draw(st.integers(0, 255)))
    try:
        found = read(tmp_path_factory.mktemp("zip"), broken)
    except BadZip:
        return
    for entry in found:
        assert entry.problem or entry.content in contents.values()
    assert len(found) <= 2
