from __future__ import annotations

import dataclasses
import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from stellaops.bundles import layout, manifest
from stellaops.bundles.content import Content
from stellaops.bundles.manifest import ExportManifest
from stellaops.bundles.trivy.inspect import Sentinel
from stellaops.core import canonical_json, digests
from stellaops.kit import report, verify
from stellaops.kit.report import Report
from stellaops.kit.verify import STEPS, verify_bundle
from stellaops.signing import ecdsa_p256
from tests.unit.kit import small_bundle
from tests.unit.kit.small_bundle import RAW, SENDER, STRANGER, SmallBundle, packed, raw_line, tar

TRUSTED = [SENDER.public_key_pem()]
OF_MIRRORS = {
    "outer-digest": "it is no archive",
    "freshness": "only mirrors state when their sources were checked",
    "delta": "it is no delta",
    "encryption": "it is not encrypted",
}


def failed(root: Path) -> dict[str, str]:
    """Names and details of the checks that fail."""
    result = verify_bundle(root, TRUSTED)
    assert (result.verdict == "failed") is bool(result.failed())
    return {check.name: check.detail for check in result.failed()}


def made(tmp_path: Path, **changes: object) -> Path:
    return SmallBundle(**changes).write(tmp_path / "bundle")  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made(tmp_path)


def statuses(result: Report) -> dict[str, str]:
    return {check.name: check.status for check in result.checks}


def test_an_honest_bundle_passes_every_check(root: Path) -> None:
    result = verify_bundle(root, TRUSTED)
    assert {check.name: check.detail for check in result.checks if check.status != "ok"} == OF_MIRRORS
    assert result.verdict == "ok"
    whole = manifest.parse((root / "export.json").read_bytes())
    assert (result.export_id, result.rerun_hash) == (whole.export_id, whole.rerun_hash)
    assert [check.id for check in result.checks] == [f"V{number:02}" for number in range(1, len(STEPS) + 1)]


def test_a_bundle_without_a_database_skips_the_database_checks_and_says_why(tmp_path: Path) -> None:
    result = verify_bundle(made(tmp_path, trivy=False), TRUSTED)
    skipped = [check for check in result.checks if check.status == "skipped" and check.name not in OF_MIRRORS]
    assert result.verdict == "ok"
    names = ["metadata", "database", "sentinels"]
    assert [check.name for check in skipped] == [
        f"{kind}-{name}" for kind in ("trivy", "java") for name in names
    ]
    assert [check.detail for check in skipped] == [
        *["the bundle holds no Trivy database"] * 3,
        *["the bundle holds no Java database"] * 3,
    ]


def test_an_empty_bundle_without_any_row_passes(tmp_path: Path) -> None:
    assert failed(made(tmp_path, documents={}, trivy=False)) == {}


def test_the_report_goes_out_as_the_contract_says(root: Path) -> None:
    wire = verify_bundle(root, TRUSTED).to_wire()
    assert set(wire) == {"verdict", "exportId", "rerunHash", "checks"}
    assert canonical_json.encode(wire)


def test_the_root_may_be_reached_through_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(root)
    assert failed(tmp_path / "current") == {}


class TestTrust:
    def test_an_unknown_key_stops_everything_else(self, root: Path) -> None:
        result = verify_bundle(root, [STRANGER.public_key_pem()])
        assert statuses(result) == {
            "signer": "failed",
            **{step.name: "skipped" for step in STEPS if step.name != "signer"},
        }
        assert (result.verdict, result.export_id) == ("failed", None)
        with pytest.raises(report.BundleRefused, match="no trusted key signed"):
            result.require()

    def test_no_key_at_all_trusts_nothing(self, root: Path) -> None:
        assert verify_bundle(root, []).verdict == "failed"

    def test_one_of_several_trusted_keys_is_enough(self, root: Path) -> None:
        assert verify_bundle(root, [STRANGER.public_key_pem(), *TRUSTED]).verdict == "ok"

    def test_a_revoked_key_verifies_nothing(self, root: Path) -> None:
        result = verify_bundle(root, TRUSTED, revoked=[SENDER.key_id])
        assert result.verdict == "failed"
        assert "revoked" in result.checks[0].detail

    def test_a_strangers_key_inside_the_bundle_is_not_trusted(self, tmp_path: Path) -> None:
        root = made(tmp_path, key=STRANGER)
        (root / "export-center.pub").write_bytes(STRANGER.public_key_pem())
        (root / "signatures" / "export.pub").write_bytes(STRANGER.public_key_pem())
        assert "signer" in failed(root)

    def test_a_manifest_that_another_key_signed_again_is_refused(self, root: Path, tmp_path: Path) -> None:
        other = SmallBundle(key=STRANGER, cut=2).write(tmp_path / "other")
        for path in ("export.json", "signatures/export.sig", "signatures/export.sigstore.json"):
            shutil.copy(other / path, root / path)
        assert list(failed(root)) == ["signer"]

    @pytest.mark.parametrize("name", ["files.sig", "files.sigstore.json", "trivy-db.sig", "trivy-db.sigstore.json",
                                      "export.sigstore.json", "provenance.sigstore.json"])  # fmt: skip
    def test_one_signature_by_another_key_is_refused(self, root: Path, tmp_path: Path, name: str) -> None:
        other = SmallBundle(key=STRANGER).write(tmp_path / "other")
        shutil.copy(other / "signatures" / name, root / "signatures" / name)
        assert verify_bundle(root, [*TRUSTED, STRANGER.public_key_pem()]).verdict == "failed"

    @pytest.mark.parametrize("form", ["sig", "sigstore.json"])
    def test_swapped_signatures_are_refused(self, root: Path, form: str) -> None:
        first, second = (root / "signatures" / f"{stem}.{form}" for stem in ("export", "files"))
        held = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(held)
        assert failed(root)

    def test_a_trusted_key_that_is_none_is_the_operators_error(self, root: Path) -> None:
        with pytest.raises(ecdsa_p256.UnusableKey):
            verify_bundle(root, [b"not a key"])

    @pytest.mark.parametrize("suffix", [b"\n", b" ", b"\0", b"="])
    def test_anything_after_a_signature_is_refused(self, root: Path, suffix: bytes) -> None:
        for name in sorted((root / "signatures").iterdir()):
            held = name.read_bytes()
            name.write_bytes(held + suffix)
            assert failed(root), name
            name.write_bytes(held)

    def test_a_huge_manifest_is_not_read(self, root: Path) -> None:
        with (root / "export.json").open("r+b") as file:
            file.truncate(50 * 1024**3)
        assert "has more than" in failed(root)["signer"]


class TestTree:
    def test_every_missing_file_is_found(self, root: Path) -> None:
        for path in [path for path in sorted(root.rglob("*")) if path.is_file()]:
            held = path.read_bytes()
            path.unlink()
            assert failed(root), path
            path.write_bytes(held)
        assert not failed(root)

    @pytest.mark.parametrize("name", ["extra.txt", "signatures/extra.sig", "data/raw/advisories/00002.jsonl.zst",
                                      "EXPORT.JSON", "export.json ", "trivy/.hidden", "signatures/trivy-db.jws",
                                      "READM\u0395.md", "data/raw/advisories/0\n0"])  # fmt: skip
    def test_an_extra_file_is_found(self, root: Path, name: str) -> None:
        (root / name).write_bytes(b"")
        assert list(failed(root)) == ["tree"]

    def test_a_name_that_is_no_text_is_found(self, root: Path) -> None:
        Path(os.fsdecode(os.fsencode(root) + b"/export\xff.json")).write_bytes(b"")
        assert list(failed(root)) == ["tree"]

    def test_an_empty_directory_is_found(self, root: Path) -> None:
        (root / "data" / "raw" / "vex").mkdir()
        assert list(failed(root)) == ["tree"]

    def test_a_link_in_place_of_any_file_is_found(self, root: Path, tmp_path: Path) -> None:
        for path in [path for path in sorted(root.rglob("*")) if path.is_file()]:
            moved = tmp_path / "moved"
            path.rename(moved)
            path.symlink_to(moved)
            assert failed(root), path
            path.unlink()
            moved.rename(path)

    def test_a_link_in_place_of_a_directory_is_found(self, root: Path, tmp_path: Path) -> None:
        for name in ("signatures", "data", "trivy"):
            (root / name).rename(tmp_path / "moved")
            (root / name).symlink_to(tmp_path / "moved")
            assert failed(root), name
            (root / name).unlink()
            (tmp_path / "moved").rename(root / name)

    @pytest.mark.parametrize("path", ["export.json", "files.json", "trivy/db.bundle", "signatures/files.sig"])
    def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(self, root: Path, path: str) -> None:
        (root / path).unlink()
        os.mkfifo(root / path)
        assert failed(root)

    @pytest.mark.parametrize("path", ["export.json", "signatures", "trivy/db.bundle"])
    def test_a_directory_or_file_in_place_of_the_other_is_refused(self, root: Path, path: str) -> None:
        target = root / path
        if target.is_dir():
            shutil.rmtree(target)
            target.write_bytes(b"")
        else:
            target.unlink()
            target.mkdir()
        assert failed(root)

    def test_every_truncated_file_is_found(self, root: Path) -> None:
        for path in [path for path in sorted(root.rglob("*")) if path.is_file()]:
            held = path.read_bytes()
            for size in {0, len(held) // 2, len(held) - 1}:
                path.write_bytes(held[:size])
                assert failed(root), (path, size)
            path.write_bytes(held)

    def test_a_root_that_is_not_there_fails(self, tmp_path: Path) -> None:
        assert "signer" in failed(tmp_path / "nowhere")

    def test_two_files_that_change_places_are_found(self, root: Path) -> None:
        first, second = root / layout.shard(RAW, 0), root / layout.shard(RAW, 1)
        held = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(held)
        assert "files" in failed(root)


class TestSignedLies:
    """The sender itself signs something that is not so."""

    @pytest.mark.parametrize(("field", "value", "check"), [
        ("export_id", "a" * 26, "export-id"),
        ("rerun_hash", digests.sha256(b"other"), "rerun-hash"),
        ("snapshot", digests.sha256(b"other"), "snapshot"),
    ])  # fmt: skip
    def test_a_manifest_that_states_something_else(
        self, tmp_path: Path, field: str, value: str, check: str
    ) -> None:
        def change(whole: ExportManifest) -> ExportManifest:
            wire = canonical_json.decode(whole.data)
            wire[{"export_id": "exportId", "rerun_hash": "rerunHash"}.get(field, field)] = (
                {"digest": value} if field == "snapshot" else value
            )
            if field != "export_id":
                del wire["exportId"]
                wire["exportId"] = digests.content_id(canonical_json.encode(wire))
            return manifest.parse(canonical_json.encode(wire))

        assert list(failed(made(tmp_path, change_manifest=change))) == [check]

    def test_a_wrong_content_digest_and_a_wrong_count(self, tmp_path: Path) -> None:
        def digest(contents: list[Content]) -> list[Content]:
            return [dataclasses.replace(each, content_digest=digests.sha256(b"")) for each in contents]

        assert list(failed(made(tmp_path / "1", contents=digest))) == ["content"]

        def count(contents: list[Content]) -> list[Content]:
            return [dataclasses.replace(each, records=each.records + 1) for each in contents]

        assert list(failed(made(tmp_path / "2", contents=count))) == ["records", "trivy-database"]

    def test_content_without_its_files_and_files_without_content(self, tmp_path: Path) -> None:
        def more(contents: list[Content]) -> list[Content]:
            return [*contents, Content("indexes/vex", digests.sha256(b""), 0, layout.ROW_SET_TYPE)]

        assert "not complete" in failed(made(tmp_path / "1", contents=more))["files-manifest"]
        extra = {"data/other.json": b"{}"}
        assert "belongs to no content" in failed(made(tmp_path / "2", files=extra))["files-manifest"]

    def test_a_gap_between_shards(self, tmp_path: Path) -> None:
        extra = {layout.shard(RAW, 3): packed([])}
        assert "not complete" in failed(made(tmp_path, files=extra))["files-manifest"]

    def test_a_content_that_this_version_does_not_know(self, tmp_path: Path) -> None:
        def more(contents: list[Content]) -> list[Content]:
            return [*contents, Content("data/x.json", digests.sha256(b"{}"), 0, layout.JSON_TYPE)]

        assert (
            "does not know" in failed(made(tmp_path, contents=more, files={"data/x.json": b"{}"}))["content"]
        )

    @pytest.mark.parametrize("lines", [
        [raw_line("X-01", b"{}"), raw_line("X-00", b"{}")],
        [raw_line("X-00", b"{}"), raw_line("X-00", b"{}")],
        [raw_line("X-00", b"{}") + b" "],
        [raw_line("X-00", b"{}").replace(b'"document":{}', b'"document":[]')],
        [raw_line("X-00", b"{}").replace(b'"document":{},', b"")],
        [raw_line("X-00", b"{}").replace(b'"key"', b'"more":1,"key"')],
        [raw_line("X-00", b"{")],
        [b"", b"{}"],
        [b"[" * 100_000],
    ])  # fmt: skip
    def test_rows_that_no_writer_may_write(self, tmp_path: Path, lines: list[bytes]) -> None:
        assert "content" in failed(made(tmp_path, files={layout.shard(RAW, 0): packed(lines)}))

    def test_a_row_without_its_newline(self, tmp_path: Path) -> None:
        data = zstd.compress(raw_line("X-00", b"{}"))
        assert "no newline" in failed(made(tmp_path, files={layout.shard(RAW, 0): data}))["content"]

    @pytest.mark.parametrize("change", [
        lambda data: data + zstd.compress(b""), lambda data: data + b"\0", lambda data: data[:-1],
        lambda data: b"not zstd", lambda data: b"",
    ])  # fmt: skip
    def test_packing_that_is_not_one_whole_frame(
        self, tmp_path: Path, change: Callable[[bytes], bytes]
    ) -> None:
        data = change(packed([raw_line("X-00", b"{}")]))
        assert "content" in failed(made(tmp_path, files={layout.shard(RAW, 0): data}))

    def test_a_zstd_bomb_stops_at_a_bound(self, tmp_path: Path) -> None:
        compressor = zstd.ZstdCompressor()
        bomb = b"".join(compressor.compress(bytes(2**20)) for _ in range(300)) + compressor.flush()
        assert len(bomb) < 100_000
        detail = failed(made(tmp_path, files={layout.shard(RAW, 0): bomb}))["content"]
        assert "a line is longer" in detail or "unpacks to more" in detail

    def test_a_bomb_of_short_lines_stops_at_a_bound(self, tmp_path: Path) -> None:
        compressor = zstd.ZstdCompressor()
        bomb = b"".join(compressor.compress(b"\n" * 2**20) for _ in range(300)) + compressor.flush()
        assert "content" in failed(made(tmp_path, files={layout.shard(RAW, 0): bomb}))

    def test_a_frame_that_wants_a_huge_window_is_refused(self, tmp_path: Path) -> None:
        parameter = zstd.CompressionParameter
        compressor = zstd.ZstdCompressor(options={parameter.window_log: 28})
        data = compressor.compress(b"\n") + compressor.flush()
        assert "damaged" in failed(made(tmp_path, files={layout.shard(RAW, 0): data}))["content"]


class TestTrivyLies:
    @pytest.mark.parametrize("change", [
        {"Version": 1}, {"Version": 3}, {"Version": 2.0}, {"Version": "2"}, {"UpdatedAt": "2026-01-02T03:04:06Z"},
        {"UpdatedAt": "2026-01-02T03:04:05.0Z"}, {"DownloadedAt": "2026-01-02T03:04:05Z"}, {"NextUpdate": "soon"},
        {"NextUpdate": "2026-01-02T03:04:05Z"}, {"More": 1},
    ])  # fmt: skip
    def test_metadata_that_is_not_as_it_must_be(self, tmp_path: Path, change: dict[str, object]) -> None:
        found = failed(made(tmp_path, metadata=small_bundle.metadata(**change)))
        assert list(found) == ["trivy-metadata"]

    @pytest.mark.parametrize("change", [
        {"vulnerability": None}, {"data-source": None}, {"data-source": {}}, {"advisory-detail": {}},
        {"npm::Small": {"left": {}}},
        {"npm::Small": {"left": {"CVE-2026-0001": {}}, "right": {"CVE-2026-0002": {"VulnerableVersions": ["<1"]}}}},
        {"npm::Small": {"left": {"CVE-2026-0001": {"VulnerableVersions": ["<1", "what is this?"]}},
                        "right": {"CVE-2026-0002": {"VulnerableVersions": ["<1"]}}}},
        {"npm::Small": {"left": {"CVE-2026-0001": {"VulnerableVersions": "<1"}},
                        "right": {"CVE-2026-0002": {"VulnerableVersions": ["<1"]}}}},
        {"debian 12": {"x": {"CVE-2026-0001": {"Severity": 1.5}}}},
        {"vulnerability": {"CVE-2026-0001": {"Severity": 3}, "CVE-2026-0002": {}}},
        {"unheard::Of": {"x": {"CVE-2026-0001": {"VulnerableVersions": ["<1"]}}}},
    ])  # fmt: skip
    def test_a_database_that_trivy_would_read_otherwise(
        self, tmp_path: Path, change: dict[str, object]
    ) -> None:
        content = {
            name: value for name, value in (dict(small_bundle.DATABASE) | change).items() if value is not None
        }
        found = failed(made(tmp_path, database=small_bundle.trivy_db(content)))  # type: ignore[arg-type]
        assert list(found) == ["trivy-database"]

    @pytest.mark.parametrize("database", [b"", b"x" * 8192, small_bundle.trivy_db()[:-4096]])
    def test_a_file_that_is_no_whole_database(self, tmp_path: Path, database: bytes) -> None:
        assert list(failed(made(tmp_path, database=database))) == ["trivy-database"]

    @pytest.mark.parametrize("sentinels", [
        (), (Sentinel("npm::Small", "left", "1.0.0", "CVE-2026-0002"),),
        (Sentinel("npm::Small", "up", "1", "CVE-2026-0001"),),
        (Sentinel("npm::Other", "left", "1.0.0", "CVE-2026-0001"),),
    ])  # fmt: skip
    def test_a_sentinel_that_is_not_found(self, tmp_path: Path, sentinels: tuple[Sentinel, ...]) -> None:
        assert list(failed(made(tmp_path, sentinels=sentinels))) == ["trivy-sentinels"]

    @pytest.mark.parametrize("archive", [
        tar({"trivy.db": b"x"}),
        tar({"metadata.json": b"{}", "trivy.db": b"x", "more": b""}),
        tar({"metadata.json": b"{}", "./trivy.db": b"x"}),
        tar({"metadata.json": b"{}", "trivy.db": b"x"}, mtime=1),
        tar({"metadata.json": b" " * 5000, "trivy.db": b"x"}),
        tar({"metadata.json": b"{}", "trivy.db": b"x"})[:1500],
        tar({"metadata.json": b"{}", "trivy.db": b"x"}).rstrip(b"\0"),
        tar({"metadata.json": b"{}", "trivy.db": b"x"}) + b"more",
        tar({"metadata.json": b"{}", "trivy.db": b"x"}) * 2,
        b"", b"\0" * 1024, b"nonsense" * 100,
    ])  # fmt: skip
    def test_an_archive_of_anything_else(self, tmp_path: Path, archive: bytes) -> None:
        found = failed(made(tmp_path, files={layout.TRIVY_DB: gzip.compress(archive, mtime=0)}))
        assert list(found) == ["content"]


def test_whatever_a_check_meets_ends_as_a_failed_check(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_run: object) -> str:
        raise ZeroDivisionError

    steps = tuple(dataclasses.replace(step, check=broken) if step.name == "tree" else step for step in STEPS)
    monkeypatch.setattr(verify, "STEPS", steps)
    assert "ZeroDivisionError" in failed(root)["tree"]


def test_every_need_of_a_step_stands_before_it() -> None:
    for number, step in enumerate(STEPS):
        assert set(step.needs) <= {earlier.name for earlier in STEPS[:number]}
