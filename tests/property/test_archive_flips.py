"""Any flipped byte of a mirror archive, or of what lies beside it, is found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stellaops.kit.verify import verify_bundle
from tests.unit.kit import small_mirror
from tests.unit.kit.small_bundle import SENDER

TRUSTED = [SENDER.public_key_pem()]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("flips")
    return small_mirror.mirror(place / "mirror", place / "root", documents={"X-1": b"{}"}, cut=1).parent


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without databases, whose every byte `test_verify_flips` turns."""
    place = tmp_path_factory.mktemp("small")
    documents = {"X-1": b"{}"}
    return small_mirror.mirror(
        place / "mirror", place / "root", documents=documents, cut=1, trivy=False
    ).parent


def missed(directory: Path, path: Path, places: Iterable[int], flip: int) -> Iterator[int]:
    """The places at which a flipped byte changes nothing in the verdict; the file is put right again."""
    held = path.read_bytes()
    try:
        for place in places:
            changed = bytearray(held)
            changed[place] ^= flip
            path.write_bytes(changed)
            if verify_bundle(directory, TRUSTED).verdict == "ok":
                yield place
    finally:
        path.write_bytes(held)


@settings(max_examples=150)
@given(data=st.data())
def test_a_flipped_byte_is_found(directory: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(directory.iterdir())), label="file")
    place = data.draw(st.integers(0, path.stat().st_size - 1), label="place")
    flip = data.draw(st.integers(1, 255), label="flip")
    assert list(missed(directory, path, [place], flip)) == []


@settings(max_examples=60)
@given(data=st.data())
def test_a_cut_archive_is_found(directory: Path, data: st.DataObject) -> None:
    archive = directory / small_mirror.NAME
    held = archive.read_bytes()
    try:
        archive.write_bytes(held[: data.draw(st.integers(0, len(held) - 1))])
        assert verify_bundle(archive, TRUSTED).verdict == "failed"
    finally:
        archive.write_bytes(held)


@settings(max_examples=100)
@given(data=st.data())
def test_whatever_the_tar_holds_a_verification_ends_in_a_report(directory: Path, data: st.DataObject) -> None:
    """Changes below the checksum of the frame, which a hostile sender of bytes would make again."""
    archive = directory / small_mirror.NAME
    held = archive.read_bytes()
    plain = bytearray(small_mirror.unpacked(held))
    for _ in range(data.draw(st.integers(1, 4))):
        plain[data.draw(st.integers(0, len(plain) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        archive.write_bytes(small_mirror.frame([bytes(plain)]))
        assert verify_bundle(archive, TRUSTED).verdict == ("ok" if archive.read_bytes() == held else "failed")
    finally:
        archive.write_bytes(held)


@pytest.mark.slow
@pytest.mark.parametrize("flip", [0x01, 0x10, 0x80])
def test_every_byte_of_every_file_counts(small: Path, flip: int) -> None:
    for path in sorted(small.iterdir()):
        assert list(missed(small, path, range(path.stat().st_size), flip)) == [], path
    assert verify_bundle(small, TRUSTED).verdict == "ok"
