"""Bundles that carry detached JWS: all or none of them, and each must hold."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stellaops.bundles import layout
from stellaops.kit.verify import verify_bundle
from stellaops.signing import detached_jws
from tests.unit.kit.small_bundle import SENDER, STRANGER, SmallBundle

NAMES = sorted(layout.JWS_PATHS.values())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return SmallBundle(jws=True).write(tmp_path / "bundle")


def failed(root: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verify_bundle(root, [SENDER.public_key_pem()]).failed()}


def test_a_bundle_with_both_is_sound_and_the_report_says_so(root: Path) -> None:
    report = verify_bundle(root, [SENDER.public_key_pem()])
    assert report.verdict == "ok"
    (said,) = (check.detail for check in report.checks if check.name == "signatures")
    assert said == "4 files in 2 forms, both manifests as JWS"


def test_nothing_else_in_the_bundle_depends_on_them(root: Path, tmp_path: Path) -> None:
    plain = SmallBundle().write(tmp_path / "plain")
    for path in NAMES:
        (root / path).unlink()
    files = [
        {path.relative_to(each): path.read_bytes() for path in each.rglob("*") if path.is_file()}
        for each in (root, plain)
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize("name", NAMES)
def test_one_without_the_other_is_found(root: Path, name: str) -> None:
    (root / name).unlink()
    assert "is missing" in failed(root)["tree"]


@pytest.mark.parametrize("name", NAMES)
def test_any_flipped_byte_is_found(root: Path, name: str) -> None:
    whole = (root / name).read_bytes()
    for place in range(0, len(whole), 5):
        (root / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert list(failed(root)) == ["signatures"]


@pytest.mark.parametrize("path", sorted(layout.JWS_PATHS))
def test_a_strangers_signature_is_found(root: Path, path: str) -> None:
    (root / layout.JWS_PATHS[path]).write_bytes(detached_jws.sign(STRANGER, (root / path).read_bytes()))
    assert "another key" in failed(root)["signatures"]


def test_exchanged_ones_and_a_link_are_found(root: Path, tmp_path: Path) -> None:
    one, other = (root / name for name in NAMES)
    shutil.copy(one, tmp_path / "kept")
    shutil.copy(other, one)
    assert list(failed(root)) == ["signatures"]
    one.unlink()
    one.symlink_to(tmp_path / "kept")
    assert set(failed(root)) == {"tree", "signatures"}
