"""Key files go both ways between stock cosign and us, and what either signs with them the other verifies."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stellaops.adapters.keys.file import FileKeyStore
from stellaops.authority import manage_keys
from stellaops.signing import cosign_blob, cosign_key, ecdsa_p256, key_files
from stellaops.signing.ecdsa_p256 import PublicKey
from stellaops.signing.key_files import KeyForm
from tests.unit.signing.test_cosign_key import by_hand

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PASSPHRASES = ["plain", "with spaces and é", "x" * 200]
MESSAGE = b"what is signed\n"
DIGEST = hashlib.sha256(MESSAGE).digest()
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(cosign: Path, tmp_path: Path, no_network: tuple[str, ...]) -> Run:
    return calling(cosign, tmp_path, no_network)


def calling(cosign: Path, tmp_path: Path, no_network: tuple[str, ...]) -> Run:
    """`run(passphrase, *words)` calls cosign in `tmp_path`, without a network."""
    (tmp_path / "message").write_bytes(MESSAGE)

    def call(passphrase: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        variables = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "COSIGN_PASSWORD": passphrase}
        return subprocess.run(
            [*no_network, cosign, *words], cwd=tmp_path, env=variables, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return call


def sign_options(cosign: Path) -> list[str]:
    options = ["--tlog-upload=false", "--yes"]
    return (
        options
        if cosign.name == "cosign2"
        else [*options, "--use-signing-config=false", "--new-bundle-format=false"]
    )


def signed_by_cosign(run: Run, cosign: Path, key: Path, passphrase: str, public: PublicKey) -> None:
    """Cosign signs with a key file, and we verify."""
    done = run(
        passphrase, "sign-blob", "--key", key, *sign_options(cosign), "--output-signature", "x.sig", "message"
    )
    assert done.returncode == 0, done.stderr
    cosign_blob.verify((key.parent / "x.sig").read_bytes().removesuffix(b"\n"), DIGEST, public)


def verified_by_cosign(run: Run, place: Path, public: bytes, signature: bytes) -> None:
    """We signed, and cosign verifies."""
    (place / "ours.pub").write_bytes(public)
    (place / "ours.sig").write_bytes(cosign_blob.encode(signature))
    words = ("verify-blob", "--key", "ours.pub", "--signature", "ours.sig", "--insecure-ignore-tlog=true")
    done = run("", *words, "message")
    assert "Verified OK" in done.stdout + done.stderr
    (place / "message").write_bytes(MESSAGE + b"x")
    assert run("", *words, "message").returncode != 0


@pytest.mark.parametrize("passphrase", ["", *PASSPHRASES])
def test_a_key_that_cosign_made_is_read_and_signs(run: Run, tmp_path: Path, passphrase: str) -> None:
    done = run(passphrase, "generate-key-pair")
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "cosign.key").read_bytes()
    key = key_files.read(data, passphrase.encode())
    assert key.public_key_pem() == (tmp_path / "cosign.pub").read_bytes()
    verified_by_cosign(run, tmp_path, key.public_key_pem(), key.sign_digest(DIGEST))
    with pytest.raises(ecdsa_p256.UnusableKey):
        key_files.read(data, passphrase.encode() + b"x")


@pytest.mark.parametrize("passphrase", PASSPHRASES)
def test_a_key_that_we_wrote_signs_in_cosign(run: Run, cosign: Path, tmp_path: Path, passphrase: str) -> None:
    key = ecdsa_p256.generate()
    path = tmp_path / "ours.key"
    path.write_bytes(key_files.write(key, KeyForm.COSIGN, passphrase.encode()))
    signed_by_cosign(run, cosign, path, passphrase, key.public)
    public = run(passphrase, "public-key", "--key", path)
    assert public.stdout.encode() == key.public_key_pem()
    assert run(f"{passphrase}x", "public-key", "--key", path).returncode != 0


@pytest.mark.parametrize("label", [cosign_key.LABEL, cosign_key.OLD_LABEL])
@pytest.mark.parametrize("n", [2**15, 2**16, 2**17])
def test_what_we_read_of_older_costs_and_labels_cosign_reads_too(
    run: Run, tmp_path: Path, label: bytes, n: int
) -> None:
    """So that the files of the unit tests are those of cosign."""
    key = ecdsa_p256.generate()
    (tmp_path / "old.key").write_bytes(by_hand(key.to_pkcs8(), b"x", label, {"N": n, "r": 8, "p": 1}))
    done = run("x", "public-key", "--key", "old.key")
    assert done.stdout.encode() == key.public_key_pem(), done.stderr


def test_cosign_refuses_the_costs_that_we_refuse(run: Run, tmp_path: Path) -> None:
    key = ecdsa_p256.generate()
    made = by_hand(key.to_pkcs8(), b"x", cosign_key.LABEL, {"N": 2**14, "r": 8, "p": 1})
    (tmp_path / "weak.key").write_bytes(made)
    assert run("x", "public-key", "--key", "weak.key").returncode != 0


def test_cosign_signs_with_the_very_file_that_lies_in_the_data_directory(
    run: Run, cosign: Path, tmp_path: Path
) -> None:
    store = FileKeyStore(tmp_path / "data", lambda: b"at rest")
    record = manage_keys.create_key(store, "acme", now=NOW)
    path = tmp_path / "data" / "keys" / "acme" / f"{record.key_id}.pem"
    done = run(
        "at rest", "sign-blob", "--key", path, *sign_options(cosign), "--output-signature", "x.sig", "message"
    )
    assert done.returncode == 0, done.stderr
    signature = (tmp_path / "x.sig").read_bytes().removesuffix(b"\n")
    cosign_blob.verify(signature, DIGEST, ecdsa_p256.load_public_key(record.public_key_pem))


def test_a_key_that_cosign_imported_from_openssl_comes_back(
    cosign3: Path, openssl: Path, tmp_path: Path, no_network: tuple[str, ...]
) -> None:
    """SEC 1 of openssl, through `cosign import-key-pair`, to us; cosign 2 imports no ECDSA key at all."""
    run = calling(cosign3, tmp_path, no_network)
    words = ["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "plain.pem"]
    subprocess.run([openssl, *words], cwd=tmp_path, check=True, capture_output=True)
    plain = key_files.read((tmp_path / "plain.pem").read_bytes(), None)
    done = run("x", "import-key-pair", "--key", "plain.pem", "--yes")
    assert done.returncode == 0, done.stderr
    imported = (tmp_path / "import-cosign.key").read_bytes()
    assert key_files.read(imported, b"x").key_id == plain.key_id
