"""Any flipped byte of any file of a bundle is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stellaops.kit.verify import verify_bundle
from tests.unit.kit.small_bundle import SENDER, SmallBundle

TRUSTED = [SENDER.public_key_pem()]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SmallBundle().write(tmp_path_factory.mktemp("flips") / "bundle")


def files(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file()]


def verdicts(root: Path, path: Path, places: Iterator[int] | range, flip: int) -> Iterator[tuple[int, str]]:
    """Verdict with one byte flipped, for each place; the file is put right again."""
    held = path.read_bytes()
    try:
        for place in places:
            changed = bytearray(held)
            changed[place] ^= flip
            path.write_bytes(changed)
            yield place, verify_bundle(root, TRUSTED).verdict
    finally:
        path.write_bytes(held)


@settings(max_examples=150)
@given(data=st.data())
def test_a_flipped_byte_is_found(root: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(files(root)), label="file")
    place = data.draw(st.integers(0, path.stat().st_size - 1), label="place")
    flip = data.draw(st.integers(1, 255), label="flip")
    assert [verdict for _, verdict in verdicts(root, path, range(place, place + 1), flip)] == ["failed"]


def test_every_byte_of_the_signatures_counts(root: Path) -> None:
    for path in sorted((root / "signatures").glob("*.sig")):
        size = path.stat().st_size
        # 0x20 changes the case of a letter, 0x01 the padding bits that base64 decoders like to ignore
        for flip in (0x01, 0x20):
            assert {verdict for _, verdict in verdicts(root, path, range(size), flip)} == {"failed"}, path


@pytest.mark.slow
@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_every_byte_of_every_file_counts(root: Path, flip: int) -> None:
    assert verify_bundle(root, TRUSTED).verdict == "ok"
    for path in files(root):
        missed = [
            place
            for place, verdict in verdicts(root, path, range(path.stat().st_size), flip)
            if verdict == "ok"
        ]
        assert missed == [], path
    assert verify_bundle(root, TRUSTED).verdict == "ok"
