"""Files, folders and archives as inputs of an import."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stellaops.adapters.files import inputs as module
from stellaops.adapters.files.inputs import ArchiveBomb, ArchiveDamaged, FileInputs, InputMissing, is_archive
from stellaops.core.digests import sha256
from stellaops.ingest import recognise

FILES = {"a.json": b'{"id": "A"}', "sub/b.json": b'{"id": "B"}', "sub/deep/c.json": b"x" * 5000, "z.txt": b""}

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    ".tar.zst": zstd.compress,
}


def tarred(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT, prefix: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def contents(*paths: Path, skip: int = 0) -> dict[str, bytes]:
    found = list(FileInputs(paths).members(skip))
    assert not [member for member in found if member.problem]
    return {member.path: member.content for member in found}


def problems(path: Path) -> dict[str, str]:
    found = list(FileInputs([path]).members())
    assert all(not member.content for member in found if member.problem)
    return {member.path: member.problem.partition(":")[0] for member in found if member.problem}


def test_a_folder_an_archive_of_it_and_any_compression_are_the_same_files(tmp_path: Path) -> None:
    assert contents(folder(tmp_path / "in", FILES)) == FILES
    for ending, compress in COMPRESSORS.items():
        file = tmp_path / f"all{ending}"
        file.write_bytes(compress(tarred(FILES)))
        assert contents(file) == FILES, ending
    (tmp_path / "all.ZIP").write_bytes(zipped(FILES))
    assert contents(tmp_path / "all.ZIP") == FILES


def test_paths_with_a_leading_dot_or_doubled_slashes_are_those_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "dots.tar").write_bytes(tarred(FILES, prefix="./"))
    assert contents(tmp_path / "dots.tar") == FILES
    (tmp_path / "dots.zip").write_bytes(zipped({f".//{name}": content for name, content in FILES.items()}))
    assert contents(tmp_path / "dots.zip") == FILES


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_and_long_names_are_read(tmp_path: Path, form: int) -> None:
    names = (
        {"d/" * 40 + "x.json": b"long"}
        if form == tarfile.USTAR_FORMAT
        else {"d" * 90 + "/" + "é" * 120: b"long"}
    )
    (tmp_path / "x.tar").write_bytes(tarred(names, form))
    assert contents(tmp_path / "x.tar") == names


def test_a_compressed_tar_under_the_wrong_name_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(lzma.compress(tarred(FILES)))
    assert contents(tmp_path / "x.tar") == FILES


def test_an_archive_inside_a_folder_lies_flat_where_it_stands(tmp_path: Path) -> None:
    root = folder(
        tmp_path / "in", {"one/all.zip": zipped({"a.json": b"1"}), "two.tar": tarred({"b.json": b"2"})}
    )
    assert contents(root) == {"one/a.json": b"1", "b.json": b"2"}


def test_provenance_is_the_archive_or_the_file_itself(tmp_path: Path) -> None:
    data = zipped({"a.json": b"1"})
    (tmp_path / "all.zip").write_bytes(data)
    (member,) = FileInputs([tmp_path / "all.zip"]).members()
    assert (member.container_url, member.container_digest) == ((tmp_path / "all.zip").as_uri(), sha256(data))
    assert member.container_size == len(data)
    (tmp_path / "a.json").write_bytes(b"1")
    (plain,) = FileInputs([tmp_path / "a.json"]).members()
    assert (plain.container_url, plain.container_digest) == ((tmp_path / "a.json").as_uri(), None)
    assert (plain.path, plain.content, plain.container_size) == ("a.json", b"1", 1)


def test_the_order_is_fixed_and_skipping_goes_on_where_it_was(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", FILES | {"m.zip": zipped({"m1": b"1", "m2": b"2"})})
    whole = list(contents(root))
    assert whole == ["a.json", "m1", "m2", "z.txt", "sub/b.json", "sub/deep/c.json"]
    for skip in range(len(whole) + 1):
        assert list(contents(root, skip=skip)) == whole[skip:]


def test_several_paths_come_in_the_order_given(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", {"a": b"1", "b": b"2"})
    assert list(contents(root / "b", root / "a")) == ["b", "a"]


def test_links_are_not_followed_and_version_control_is_left_out(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", {"a.json": b"1", ".git/b.json": b"2"})
    (root / "link.json").symlink_to(root / "a.json")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.json")
    assert contents(root) == {"a.json": b"1"}


def test_the_fingerprint_is_of_the_same_files_only(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", FILES)
    first = FileInputs([root]).fingerprint()
    assert FileInputs([root]).fingerprint() == first
    (root / "a.json").write_bytes(b"other")
    assert FileInputs([root]).fingerprint() != first


def test_what_is_not_there_or_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("missing", "pipe", "dangling"):
        with pytest.raises(InputMissing, match=name):
            FileInputs([tmp_path / name])


@contextmanager
def without_rights() -> Iterator[None]:
    """Give up root's right to read everything, where we have it."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def open_to_all(path: Path) -> None:
    for parent in (path, *path.parents):
        if parent.owner() == Path("/").owner() and parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(parent.stat().st_mode | 0o055)


def test_an_unreadable_file_is_quarantined_and_an_unreadable_folder_is_an_error(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", {"a.json": b"1", "b.json": b"2"})
    open_to_all(root)
    (root / "b.json").chmod(0)
    with without_rights():
        assert problems(root) == {"b.json": "unreadable"}
    (root / "secret").mkdir(mode=0)
    with without_rights(), pytest.raises(InputMissing, match="secret"):
        list(FileInputs([root]).members())
    (root / "secret").chmod(0o700)


def test_names_that_are_no_utf_8_become_text(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / os.fsdecode(b"caf\xe9.json")).write_bytes(b"1")
    assert contents(root) == {"caf\\xe9.json": b"1"}
    raw = tarred({"cafX.json": b"1"}, tarfile.USTAR_FORMAT)
    header = raw[:512].replace(b"cafX", b"caf\xe9")
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    header = header[:148] + b"%06o\0 " % total + header[156:]
    (tmp_path / "x.tar").write_bytes(header + raw[512:])
    assert contents(tmp_path / "x.tar") == {"caf\\xe9.json": b"1"}


@pytest.mark.parametrize(
    "name",
    ["../up.json", "/etc/abs.json", "a/../../b.json", "..", "a\\..\\..\\b.json", "\\\\host\\x.json", "."],
)
def test_paths_that_leave_their_root_are_quarantined(tmp_path: Path, name: str) -> None:
    for ending, pack in ((".zip", zipped), (".tar", tarred)):
        file = tmp_path / f"x{ending}"
        file.write_bytes(pack({name: b"evil", "good.json": b"1"}))
        found = problems(file)
        assert list(found.values()) == ["unsafe-path"], ending
        assert not next(iter(found)).startswith("/")


def test_nested_archives_are_not_opened(tmp_path: Path) -> None:
    for ending, pack in ((".zip", zipped), (".tar", tarred)):
        file = tmp_path / f"x{ending}"
        file.write_bytes(
            pack({"in/inner.tar.gz": b"..", "inner.zip": zipped({"a": b"1"}), "good.json": b"1"})
        )
        assert problems(file) == {"in/inner.tar.gz": "nested-archive", "inner.zip": "nested-archive"}


def test_links_and_devices_in_a_tar_are_quarantined(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (
            ("s", tarfile.SYMTYPE),
            ("h", tarfile.LNKTYPE),
            ("d", tarfile.CHRTYPE),
            ("f", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("folder")
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    (tmp_path / "x.tar").write_bytes(buffer.getvalue())
    assert problems(tmp_path / "x.tar") == dict.fromkeys("shdf", "not-a-file")


def test_files_beyond_the_limit_are_quarantined_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_MEMBER", 1000)
    files = {"big.json": b"0" * 1001, "fits.json": b"0" * 1000}
    (tmp_path / "x.zip").write_bytes(zipped(files))
    (tmp_path / "x.tar.xz").write_bytes(lzma.compress(tarred(files)))
    for path in (tmp_path / "x.zip", tmp_path / "x.tar.xz", folder(tmp_path / "in", files)):
        assert problems(path) == {"big.json": "too-large"}


def test_more_than_any_feed_holds_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.tar.gz").write_bytes(
        gzip.compress(tarred({f"{number}": b"0" * 100 for number in range(20)}))
    )
    with monkeypatch.context() as smaller:
        smaller.setattr(module, "MAX_TOTAL", 1500)
        with pytest.raises(ArchiveBomb, match=r"x\.tar\.gz"):
            contents(tmp_path / "x.tar.gz")
    monkeypatch.setattr(module, "MAX_MEMBERS", 10)
    with pytest.raises(ArchiveBomb):
        contents(tmp_path / "x.tar.gz")


def test_a_header_of_a_tar_cannot_claim_the_memory(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 4 << 30
        (tmp_path / "x.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10240)
        with pytest.raises(ArchiveDamaged, match="size"):
            contents(tmp_path / "x.tar")


def test_endless_padding_after_a_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(tarred(FILES) + b"\0" * (20 << 20), 1))
    with pytest.raises(ArchiveDamaged, match="follow the end"):
        contents(tmp_path / "x.tar.gz")


@pytest.mark.parametrize("ending", sorted(COMPRESSORS))
def test_a_tar_that_is_cut_off_anywhere_is_damaged(tmp_path: Path, ending: str) -> None:
    data = COMPRESSORS[ending](tarred({"a.json": b"1" * 700, "b.json": os.urandom(700)}))
    file = tmp_path / f"x{ending}"
    step = 512 if ending == ".tar" else max(1, len(data) // 40)
    # Of an uncompressed archive the zeros behind its end may be missing.
    for length in range(0, 2 * 512 + 2 * 1024 + 1 if ending == ".tar" else len(data), step):
        file.write_bytes(data[:length])
        with pytest.raises(ArchiveDamaged):
            contents(file)


def test_a_broken_header_in_the_middle_of_a_tar_is_no_end_of_it(tmp_path: Path) -> None:
    data = bytearray(tarred({"a.json": b"1", "b.json": b"2", "c.json": b"3"}, tarfile.USTAR_FORMAT))
    data[1024] ^= 1
    (tmp_path / "x.tar").write_bytes(bytes(data))
    with pytest.raises(ArchiveDamaged, match="damaged"):
        contents(tmp_path / "x.tar")


def test_a_checksum_of_the_compressor_is_looked_at(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(tarred(FILES)))
    data[-6] ^= 1
    (tmp_path / "x.tar.gz").write_bytes(bytes(data))
    with pytest.raises(ArchiveDamaged):
        contents(tmp_path / "x.tar.gz")


TAR = tarred({"a.json": b"hello" * 20, "é" * 120: b"long name"})


@given(
    st.integers(0, len(TAR) - 1),
    st.integers(0, 255),
    st.sampled_from([".tar", ".tar.gz", ".tar.xz", ".tar.zst"]),
)
@example(156, ord("S"), ".tar")
@example(124, 0x80, ".tar")
@settings(max_examples=200)
def test_any_changed_byte_in_a_tar_is_an_archive_or_damage(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int, ending: str
) -> None:
    data = bytearray(COMPRESSORS[ending](TAR))
    data[place % len(data)] = value
    file = tmp_path_factory.mktemp("tar") / f"x{ending}"
    file.write_bytes(bytes(data))
    try:
        found = list(FileInputs([file]).members())
    except ArchiveDamaged:
        return
    assert len(found) <= 3


@given(st.binary(max_size=600), st.sampled_from([".zip", *sorted(COMPRESSORS)]))
@settings(max_examples=100)
def test_any_bytes_under_the_name_of_an_archive_are_damage(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, ending: str
) -> None:
    file = tmp_path_factory.mktemp("any") / f"x{ending}"
    file.write_bytes(data)
    with pytest.raises(ArchiveDamaged):
        list(FileInputs([file]).members())


def test_archives_are_told_by_their_names() -> None:
    assert all(
        is_archive(Path(f"x{ending}")) for ending in (".zip", ".ZIP", ".tbz2", ".txz", ".tzst", *COMPRESSORS)
    )
    assert not any(is_archive(Path(name)) for name in ("x.json", "zip", "x.gz", "x.json.gz", "tar"))


@pytest.mark.parametrize("form", ["folder", ".zip", ".tar.gz"])
def test_files_that_nobody_wants_are_passed_over(form: str, tmp_path: Path) -> None:
    place = tmp_path / f"x{form}"
    if form == "folder":
        folder(place, FILES)
    else:
        place.write_bytes(zipped(FILES) if form == ".zip" else gzip.compress(tarred(FILES)))
    asked: list[str] = []

    def wanted(path: str) -> bool:
        asked.append(path)
        return path in ("sub/b.json", "z.txt")

    found = {member.path: member.content for member in FileInputs([place]).wanted_members(wanted)}
    assert found == {"sub/b.json": FILES["sub/b.json"], "z.txt": b""}
    assert sorted(asked) == sorted(FILES)


class Whole:
    """Inputs that cannot pass over anything."""

    def __init__(self, inputs: FileInputs) -> None:
        self._inputs = inputs
        self.fingerprint, self.members = inputs.fingerprint, inputs.members


@pytest.mark.parametrize("count", [1, 99, 100, 101, 1500])
def test_a_sample_is_the_same_whether_all_is_read_or_only_what_may_be_in_it(
    count: int, tmp_path: Path
) -> None:
    files = {f"{number % 7}/{number}.json": b"x" * (number % 3) for number in range(count)}
    (tmp_path / "x.zip").write_bytes(zipped(files))
    inputs = FileInputs([tmp_path / "x.zip"])
    found = recognise.spread(inputs)
    assert {each.path for each in found} == {each.path for each in recognise.spread(Whole(inputs))}
    smallest = sorted(filter(files.get, files), key=lambda path: zlib.crc32(path.encode()))[:100]
    assert {member.path for member in found} == set(smallest)


def test_an_archive_of_many_files_is_a_bomb_also_where_only_a_sample_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.tar").write_bytes(tarred({f"{number}": b"0" * 100 for number in range(20)}))
    monkeypatch.setattr(module, "MAX_TOTAL", 1500)
    with pytest.raises(ArchiveBomb, match=r"x\.tar"):
        list(FileInputs([tmp_path / "x.tar"]).wanted_members(lambda _: False))


@pytest.mark.parametrize("turn", [1, -1])
def test_a_sample_is_bounded_in_bytes_and_does_not_depend_on_the_order(
    turn: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognise, "_SAMPLE_BYTES", 1000)
    files = {f"{number}.json": b"x" * (50 + 37 * number % 400) for number in range(60)}
    place = tmp_path / "x.zip"
    place.write_bytes(zipped(dict(list(files.items())[::turn])))
    smallest = sorted(files, key=lambda path: zlib.crc32(path.encode()))
    sums = itertools.accumulate(len(files[path]) for path in smallest)
    fitting = [path for path, total in zip(smallest, sums, strict=True) if total <= 1000]
    assert {member.path for member in recognise.spread(FileInputs([place]))} == set(fitting)
    monkeypatch.setattr(recognise, "_SAMPLE_BYTES", 1)
    assert [member.path for member in recognise.spread(FileInputs([place]))] == smallest[:1]
