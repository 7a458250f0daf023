"""Stock age reads what we encrypt, and we read what it encrypts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stellaops.bundles.encryption import age
from tests.support.tools import require

OURS, OTHER = age.Identity(os.urandom(32)), age.Identity(os.urandom(32))


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    file = tmp_path / "identity.txt"
    file.write_text(OURS.secret() + "\n", encoding="ascii")
    return file


def run(*words: str | Path) -> bytes:
    return subprocess.run([require("age"), *words], check=True, capture_output=True).stdout


@pytest.mark.parametrize("size", [0, 1000, age.CHUNK, 5 * age.CHUNK + 1])
def test_stock_age_decrypts_what_we_encrypt(identity: Path, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    written = tmp_path / "x.age"
    written.write_bytes(b"".join(age.encrypt([data], [OTHER.recipient, OURS.recipient], os.urandom)))
    assert run("--decrypt", "--identity", identity, written) == data


@pytest.mark.parametrize("size", [0, 1000, age.CHUNK, 5 * age.CHUNK + 1])
def test_we_decrypt_what_stock_age_encrypts(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    plain = tmp_path / "x"
    plain.write_bytes(data)
    written = run("--encrypt", "-r", str(OTHER.recipient), "-r", str(OURS.recipient), plain)
    assert b"".join(age.decrypt([written], [OURS])) == data


def test_stock_age_refuses_what_was_changed(identity: Path, tmp_path: Path) -> None:
    written = bytearray(b"".join(age.encrypt([b"text"], [OURS.recipient], os.urandom)))
    written[-1] ^= 1
    file = tmp_path / "x.age"
    file.write_bytes(written)
    with pytest.raises(subprocess.CalledProcessError):
        run("--decrypt", "--identity", identity, file)
