"""OpenPGP signatures, by keys that are made here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pysequoia import ArmorKind, SignatureMode, Tsk, armor, sign

from stellaops.adapters.keys.openpgp import BadOpenPgpKey, OpenPgpMissing, SequoiaOpenPgp
from stellaops.ingest.ports import Keyring

CONTENT = b'{"document": {"tracking": {"id": "EX-1"}}}'
OPENPGP = SequoiaOpenPgp()


class Publisher:
    """A key pair."""

    def __init__(self, name: str) -> None:
        self.pair = Tsk.generate(name)
        self.fingerprint = self.pair.extract_certificate().fingerprint.upper()
        self.public = bytes(self.pair.extract_certificate())
        self.armoured = armor(self.public, ArmorKind.PublicKey).encode()

    def sign(self, content: bytes) -> bytes:
        return sign(self.pair.signer(), content, mode=SignatureMode.DETACHED)


@pytest.fixture(scope="module")
def publisher() -> Publisher:
    return Publisher("Example PSIRT <psirt@example.com>")


@pytest.fixture(scope="module")
def stranger() -> Publisher:
    return Publisher("Somebody <else@example.com>")


def keyring(*keys: bytes) -> Keyring:
    found = OPENPGP.keyring(keys)
    assert found is not None
    return found


def test_a_signature_holds_for_its_content_and_its_key_alone(
    publisher: Publisher, stranger: Publisher
) -> None:
    signature = publisher.sign(CONTENT)
    assert keyring(publisher.public).trouble(CONTENT, signature) == ""
    assert keyring(publisher.armoured).trouble(CONTENT, signature) == ""
    assert keyring(stranger.public, publisher.public).trouble(CONTENT, signature) == ""
    assert keyring(stranger.armoured + publisher.armoured).trouble(CONTENT, signature) == ""
    assert "no valid signatures" in keyring(publisher.public).trouble(CONTENT + b" ", signature)
    assert "no valid signatures" in keyring(stranger.public).trouble(CONTENT, signature)


def test_the_trouble_is_one_line_that_names_who_signed(publisher: Publisher, stranger: Publisher) -> None:
    told = keyring(stranger.public).trouble(CONTENT, publisher.sign(CONTENT))
    assert "\n" not in told
    assert "made by" in told


@pytest.mark.parametrize(
    "signature", [b"", b"x", b"\xff" * 100, b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"]
)
def test_what_is_no_signature_is_trouble(publisher: Publisher, signature: bytes) -> None:
    told = keyring(publisher.public).trouble(CONTENT, signature)
    assert told.startswith("no OpenPGP signature")
    assert "\n" not in told


def test_a_signature_that_is_cut_or_changed_anywhere_never_holds(publisher: Publisher) -> None:
    ring, signature = keyring(publisher.public), publisher.sign(CONTENT)
    for place in range(40, len(signature) - 40, 17):
        assert ring.trouble(CONTENT, signature[:place])
    body = signature.index(b"\n\n") + 2
    for place in range(body, body + 120, 7):
        flipped = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
        assert ring.trouble(CONTENT, flipped), place


@pytest.mark.parametrize(
    "key", [b"", b"no key", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----"]
)
def test_a_given_file_without_a_key_is_refused(key: bytes) -> None:
    with pytest.raises(BadOpenPgpKey):
        OPENPGP.keyring([key])


def test_of_found_keys_only_those_of_the_announced_fingerprints_count(
    publisher: Publisher, stranger: Publisher
) -> None:
    found = [b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nbroken", stranger.armoured, publisher.armoured]
    ring = OPENPGP.keyring(found, frozenset((publisher.fingerprint,)))
    assert ring is not None
    assert ring.trouble(CONTENT, publisher.sign(CONTENT)) == ""
    assert ring.trouble(CONTENT, stranger.sign(CONTENT)) != ""
    assert OPENPGP.keyring(found, frozenset(("ABCD",))) is None


def test_without_the_library_given_keys_are_an_error_and_found_ones_are_not_used(
    monkeypatch: pytest.MonkeyPatch, publisher: Publisher
) -> None:
    monkeypatch.setitem(sys.modules, "pysequoia", None)
    with pytest.raises(OpenPgpMissing):
        OPENPGP.keyring([publisher.public])
    assert OPENPGP.keyring([publisher.public], frozenset((publisher.fingerprint,))) is None


@pytest.fixture
def gnupg(tmp_path: Path) -> Iterator[list[str]]:
    """GnuPG with a home of its own."""
    program = shutil.which("gpg")
    if program is None:
        pytest.skip("gpg is not installed")
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    yield [
        program,
        "--homedir",
        str(home),
        "--batch",
        "--yes",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
    ]
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def test_keys_and_signatures_of_gnupg_are_read(gnupg: list[str], tmp_path: Path) -> None:
    def gpg(*arguments: str) -> bytes:
        return subprocess.run([*gnupg, *arguments], check=True, capture_output=True, timeout=60).stdout

    gpg("--quick-generate-key", "Example <psirt@example.com>", "rsa2048", "sign", "1y")
    (tmp_path / "ex-1.json").write_bytes(CONTENT)
    key = gpg("--export", "--armor")
    signature = gpg("--detach-sign", "--armor", "--output", "-", str(tmp_path / "ex-1.json"))
    assert keyring(key).trouble(CONTENT, signature) == ""
    assert keyring(key).trouble(b"another", signature) != ""
