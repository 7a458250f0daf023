"""Mirror archives: read once from front to end, without trust."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from backports import zstd

from stellaops.bundles import layout, tar, tar_zst
from stellaops.kit.report import Report
from stellaops.kit.verify import STEPS, verify_bundle
from tests.unit.kit import small_mirror
from tests.unit.kit.small_bundle import RAW, SENDER, STRANGER, packed, raw_line
from tests.unit.kit.small_mirror import NAME, frame, members, pack, put

TRUSTED = [SENDER.public_key_pem()]


def verified(path: Path) -> Report:
    return verify_bundle(path, TRUSTED)


def failed(path: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verified(path).failed()}


def statuses(report: Report) -> dict[str, str]:
    return {check.name: check.status for check in report.checks}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return small_mirror.files_of(small_mirror.bundle(tmp_path_factory.mktemp("root")))


@pytest.fixture
def archive(files: dict[str, bytes], tmp_path: Path) -> Path:
    return pack(files, tmp_path / "mirror")


class TestForms:
    def test_an_archive_passes_every_check_by_itself_and_by_its_directory(self, archive: Path) -> None:
        for path in (archive, archive.parent):
            report = verified(path)
            assert report.verdict == "ok"
            doubtful = {check.name: check.status for check in report.checks if check.status != "ok"}
            assert doubtful == {"freshness": "warning", "delta": "skipped", "encryption": "skipped"}

    def test_unpacked_by_stock_tar_it_is_a_bundle_root(self, archive: Path, tmp_path: Path) -> None:
        unpacked = tmp_path / "unpacked"
        unpacked.mkdir()
        (tmp_path / "x.tar").write_bytes(zstd.decompress(archive.read_bytes()))
        subprocess.run(["tar", "-xf", tmp_path / "x.tar", "-C", unpacked], check=True)
        for path in (unpacked, unpacked / "mirror"):
            assert statuses(verified(path))["outer-digest"] == "skipped"
            assert verified(path).verdict == "ok"

    def test_both_readings_say_the_same(self, files: dict[str, bytes], archive: Path, tmp_path: Path) -> None:
        root = small_mirror.bundle(tmp_path / "root")
        one, other = verified(archive), verified(root)
        assert (one.export_id, one.rerun_hash) == (other.export_id, other.rerun_hash)
        named = {check.name: check.detail for check in other.checks}
        differ = {check.name for check in one.checks if check.detail != named[check.name]}
        assert differ == {"tree", "outer-digest"}

    def test_the_digest_beside_it_is_what_sha256sum_reads(self, archive: Path) -> None:
        beside = f"{NAME}{layout.ARCHIVE_DIGEST}"
        subprocess.run(["sha256sum", "--check", "--strict", beside], cwd=archive.parent, check=True)

    def test_nothing_of_it_is_written_to_disk(self, tmp_path: Path) -> None:
        archive = small_mirror.mirror(tmp_path / "mirror", tmp_path / "root", trivy=False)
        (tmp_path / "key.pub").write_bytes(TRUSTED[0])
        program = (
            "import resource, signal, sys; from pathlib import Path;"
            "from stellaops.kit.verify import verify_bundle;"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));"
            "archive, key, scratch = map(Path, sys.argv[1:]);"
            "report = verify_bundle(archive, [key.read_bytes()], scratch=scratch);"
            "sys.exit(report.verdict != 'ok')"
        )
        command: list[str | Path] = [sys.executable, "-c", program, archive, tmp_path / "key.pub", tmp_path]
        subprocess.run(command, check=True)

    def test_every_check_has_its_number(self, archive: Path) -> None:
        assert [check.id for check in verified(archive).checks] == [step.id for step in STEPS]

    def test_an_age_can_be_demanded(self, archive: Path) -> None:
        report = verify_bundle(archive, TRUSTED, max_age=timedelta(days=1))
        assert [check.name for check in report.failed()] == ["freshness"]


class TestBeside:
    def test_alone_it_is_sound_but_the_report_says_what_is_missing(
        self, archive: Path, tmp_path: Path
    ) -> None:
        alone = tmp_path / "alone.tar.zst"
        alone.write_bytes(archive.read_bytes())
        assert statuses(verified(alone))["outer-digest"] == "warning"
        assert verified(alone).verdict == "ok"

    @pytest.mark.parametrize("end", [layout.ARCHIVE_DIGEST, layout.ARCHIVE_SIGNATURE])
    def test_in_its_directory_both_files_must_lie_beside_it(self, archive: Path, end: str) -> None:
        (archive.parent / f"{NAME}{end}").unlink()
        assert list(failed(archive.parent)) == ["outer-digest"]

    def test_another_digest_is_refused_though_it_is_signed(self, archive: Path, tmp_path: Path) -> None:
        put(b"another", tmp_path / "other")
        for end in (layout.ARCHIVE_DIGEST, layout.ARCHIVE_SIGNATURE):
            (tmp_path / "other" / f"{NAME}{end}").replace(archive.parent / f"{NAME}{end}")
        assert list(failed(archive)) == ["outer-digest"]

    def test_a_digest_that_another_signed_is_refused(self, archive: Path) -> None:
        put(archive.read_bytes(), archive.parent, STRANGER)
        report = verify_bundle(archive, [*TRUSTED, STRANGER.public_key_pem()])
        assert [check.name for check in report.failed()] == ["outer-digest"]

    def test_a_stray_file_beside_it_is_found(self, archive: Path) -> None:
        (archive.parent / "extra.txt").write_bytes(b"")
        assert "explained by nothing" in failed(archive.parent)["tree"]


class TestTrust:
    def test_an_unknown_key_ends_it_before_anything_is_believed(self, archive: Path) -> None:
        report = verify_bundle(archive, [STRANGER.public_key_pem()])
        assert statuses(report) == {
            "signer": "failed",
            **{step.name: "skipped" for step in STEPS if step.name != "signer"},
        }

    def test_a_revoked_key_verifies_nothing(self, archive: Path) -> None:
        assert verify_bundle(archive, TRUSTED, revoked=[SENDER.key_id]).verdict == "failed"

    def test_what_the_sender_itself_packed_wrong_is_found(self, tmp_path: Path) -> None:
        wrong = {layout.shard(RAW, 0): packed([raw_line("X-01", b"{}"), raw_line("X-00", b"{}")])}
        archive = small_mirror.mirror(tmp_path / "mirror", tmp_path / "root", files=wrong)
        assert list(failed(archive)) == ["content"]

    def test_other_data_under_signed_manifests_is_found(
        self, files: dict[str, bytes], tmp_path: Path
    ) -> None:
        path = layout.shard(RAW, 0)
        changed = bytearray(files[path])
        changed[-1] ^= 1
        assert list(failed(pack({**files, path: bytes(changed)}, tmp_path))) == ["files"]


def header(name: str, size: int = 0, **fields: object) -> bytes:
    """A tar header of any kind."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.USTAR_FORMAT)


def long_name() -> bytes:
    info = tarfile.TarInfo("mirror/" + "x" * 150)
    return info.tobuf(tarfile.GNU_FORMAT)


def pax() -> bytes:
    info = tarfile.TarInfo("mirror/x")
    info.pax_headers = {"path": "../../etc/passwd"}
    return info.tobuf(tarfile.PAX_FORMAT)


HOSTILE: dict[str, bytes] = {
    "an absolute path": header("/etc/cron.d/x"),
    "an absolute path below the folder": header("mirror//etc/x"),
    "a path that leaves the directory": header("mirror/../../x"),
    "a path outside the folder": header("export.json"),
    "a symbolic link": header("mirror/x", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": header("mirror/x", type=tarfile.LNKTYPE, linkname="mirror/export.json"),
    "a character device": header("mirror/x", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "a block device": header("mirror/x", type=tarfile.BLKTYPE),
    "a pipe": header("mirror/x", type=tarfile.FIFOTYPE),
    "a directory": header("mirror/x", type=tarfile.DIRTYPE),
    "a sparse file": header("mirror/x", type=tarfile.GNUTYPE_SPARSE),
    "a long GNU name": long_name(),
    "a pax header": pax(),
    "a global pax header": header("mirror/x", type=tarfile.XGLTYPE),
    "an owner": header("mirror/x", uid=1000, uname="root"),
    "a time": header("mirror/x", mtime=1),
    "a set-uid bit": header("mirror/x", mode=0o4755),
    "a file that nothing explains": header("mirror/zzz"),
    "a file once more": header("mirror/README.md"),
    "an early name": header("mirror/aaa"),
    "a second manifest": header("mirror/export.json"),
    "a name that is no text": b"\xff" * 100 + header("x")[100:],
    "a size in base 256": header("mirror/x")[:124] + b"\x80" + bytes(10) + b"\x01" + header("mirror/x")[136:],
    "half a header": header("mirror/x")[:256],
    "a header of ones": b"\x01" * 512,
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("place", ["first", "after the head", "last"])
def test_a_member_of_another_kind_is_refused(
    files: dict[str, bytes], tmp_path: Path, what: str, place: str
) -> None:
    pieces = list(members(files))
    head = 2 * (2 + sum(path.startswith(layout.SIGNATURES) for path in files))
    at = {"first": 0, "after the head": head, "last": len(pieces)}[place]
    pieces.insert(at, HOSTILE[what])
    archive = put(frame([*pieces, tar.END]), tmp_path)
    assert verified(archive).verdict == "failed"


WHOLE: dict[str, Callable[[list[bytes]], bytes]] = {
    "no end": frame,
    "half an end": lambda pieces: frame([*pieces, bytes(512)]),
    "a longer end": lambda pieces: frame([*pieces, bytes(10240)]),
    "something after the end": lambda pieces: frame([*pieces, tar.END, b"x"]),
    "another tar after the end": lambda pieces: frame([*pieces, tar.END, *pieces, tar.END]),
    "a second frame": lambda pieces: frame([*pieces, tar.END]) + frame([b""]),
    "a tar in two frames": lambda pieces: frame(pieces[:4]) + frame([*pieces[4:], tar.END]),
    "a skippable frame behind": lambda pieces: frame([*pieces, tar.END]) + b"\x50\x2a\x4d\x18\x01\0\0\0x",
    "a skippable frame before": lambda pieces: b"\x50\x2a\x4d\x18\x01\0\0\0x" + frame([*pieces, tar.END]),
    "a trailing byte": lambda pieces: frame([*pieces, tar.END]) + b"\0",
    "no last byte": lambda pieces: frame([*pieces, tar.END])[:-1],
    "only a half": lambda pieces: frame([*pieces, tar.END])[: len(frame(pieces)) // 2],
    "no checksum": lambda pieces: frame([*pieces, tar.END], checksum_flag=0),
    "a larger window": lambda pieces: frame([*pieces, tar.END], window_log=27),
    "a size in the frame": lambda pieces: zstd.compress(
        b"".join([*pieces, tar.END]), options={zstd.CompressionParameter.checksum_flag: 1}
    ),
    "a plain tar": lambda pieces: b"".join([*pieces, tar.END]),
    "members in another order": lambda pieces: frame([*pieces[2:4], *pieces[:2], *pieces[4:], tar.END]),
    "a missing member": lambda pieces: frame([*pieces[:-2], tar.END]),
    "a missing signature": lambda pieces: frame([*pieces[:4], *pieces[6:], tar.END]),
    "something in the padding": lambda pieces: frame(
        [pieces[0], pieces[1][:-1] + b"x", *pieces[2:], tar.END]
    ),
    "nothing": lambda _pieces: b"",
    "an empty frame": lambda _pieces: frame([]),
    "an empty tar": lambda _pieces: frame([tar.END]),
    "zeros": lambda _pieces: bytes(4096),
}


@pytest.mark.parametrize("what", WHOLE)
def test_an_archive_of_another_make_is_refused(files: dict[str, bytes], tmp_path: Path, what: str) -> None:
    archive = put(WHOLE[what](list(members(files))), tmp_path)
    report = verified(archive)
    assert report.verdict == "failed"
    assert not any("the check itself stopped" in check.detail for check in report.checks)


class TestBounds:
    def test_a_huge_manifest_is_not_read(self, files: dict[str, bytes], tmp_path: Path) -> None:
        bomb = [tar.header("mirror/export.json", 1 << 32), *([bytes(1 << 20)] * 64)]
        assert "more than" in failed(put(frame(bomb), tmp_path))["signer"]

    def test_a_huge_signature_is_not_read(self, files: dict[str, bytes], tmp_path: Path) -> None:
        pieces = [
            *list(members(files))[:4],
            tar.header("mirror/signatures/export.sig", 1 << 30),
            bytes(1 << 20),
        ]
        assert failed(put(frame(pieces), tmp_path))

    def test_a_member_larger_than_signed_is_not_read(self, files: dict[str, bytes], tmp_path: Path) -> None:
        pieces = list(members(files))
        pieces[-2] = tar.header(f"mirror/{tar_zst.in_order(files)[-1]}", 1 << 32)
        report = failed(put(frame([*pieces[:-1], bytes(1 << 20)]), tmp_path))
        assert "files.json states" in report["tree"]

    def test_a_bomb_inside_stops_at_a_bound(self, tmp_path: Path) -> None:
        bomb = frame([b"\n" * 2**20] * 300)
        archive = small_mirror.mirror(
            tmp_path / "mirror", tmp_path / "root", files={layout.shard(RAW, 0): bomb}
        )
        assert "content" in failed(archive)

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
    def test_what_is_no_file_is_refused_without_waiting(
        self, tmp_path: Path, make: Callable[[Path], None]
    ) -> None:
        make(tmp_path / NAME)
        assert failed(tmp_path / NAME)
        assert failed(tmp_path)
