"""Stock cosign and openssl verify what we sign, without a network, and refuse a changed byte."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from stellaops.bundles import layout
from stellaops.signing import cosign_blob, ecdsa_p256
from tests.unit.kit import small_mirror
from tests.unit.kit.small_bundle import SENDER, STRANGER, SmallBundle

SIGNED = ["export.json", "files.json", "trivy/db.bundle"]
TRUSTED_ROOT = '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'


@pytest.fixture(params=["json", "mirror"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A bundle root; a mirror's out of its archive, as stock tar unpacks it."""
    if request.param == "json":
        return SmallBundle().write(tmp_path / "bundle")
    archive = small_mirror.mirror(tmp_path / "archive", tmp_path / "packed")
    (tmp_path / "x.tar").write_bytes(small_mirror.unpacked(archive.read_bytes()))
    subprocess.run(["tar", "-xf", "x.tar"], cwd=tmp_path, check=True)
    return tmp_path / "mirror"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "export-center.pub"
    path.write_bytes(SENDER.public_key_pem())
    return path


class Keys(NamedTuple):
    ours: Path
    strangers: Path


@pytest.fixture
def keys(key: Path, tmp_path: Path) -> Keys:
    path = tmp_path / "stranger.pub"
    path.write_bytes(STRANGER.public_key_pem())
    return Keys(key, path)


def accepts(command: list[str | Path], root: Path, no_network: tuple[str, ...]) -> bool:
    done = subprocess.run(
        [*no_network, *command], cwd=root, capture_output=True, text=True, timeout=60, check=False,
        env={"HOME": str(root.parent), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 0 or "dial" not in output, f"it wanted a network: {output}"
    assert (done.returncode == 0) is ("Verified OK" in output), output
    return done.returncode == 0


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def by_signature(cosign: Path, key: Path, path: str) -> list[str | Path]:
    plain, _ = layout.signature_paths(path)
    return [cosign, "verify-blob", "--key", key, "--signature", plain, "--insecure-ignore-tlog=true", path]


def by_bundle(cosign: Path, key: Path, path: str, root: Path) -> list[str | Path]:
    _, bundle = layout.signature_paths(path)
    return [cosign, "verify-blob", "--key", key, "--bundle", bundle, "--insecure-ignore-tlog=true",
            *new_form(cosign, root), path]  # fmt: skip


def by_provenance(cosign: Path, key: Path, path: str, root: Path) -> list[str | Path]:
    return [cosign, "verify-blob-attestation", "--key", key, "--bundle", layout.PROVENANCE_BUNDLE, "--type",
            "slsaprovenance1", "--insecure-ignore-tlog=true", *new_form(cosign, root), path]  # fmt: skip


def new_form(cosign: Path, root: Path) -> list[str | Path]:
    """Cosign 2 must be told of the bundle's form, and then wants a trusted root, which may be empty."""
    if cosign.name != "cosign2":
        return []
    path = root.parent / "trusted_root.json"
    path.write_text(TRUSTED_ROOT, encoding="ascii")
    return ["--new-bundle-format", "--trusted-root", path]


@pytest.mark.parametrize("path", SIGNED)
def test_cosign_verifies_the_plain_signature(
    cosign: Path, root: Path, keys: Keys, path: str, no_network: tuple[str, ...]
) -> None:
    assert accepts(by_signature(cosign, keys.ours, path), root, no_network)
    assert not accepts(by_signature(cosign, keys.strangers, path), root, no_network)
    flip(root / path)
    assert not accepts(by_signature(cosign, keys.ours, path), root, no_network)


@pytest.mark.parametrize("path", SIGNED)
def test_cosign_verifies_the_sigstore_bundle(
    cosign: Path, root: Path, keys: Keys, path: str, no_network: tuple[str, ...]
) -> None:
    assert accepts(by_bundle(cosign, keys.ours, path, root), root, no_network)
    assert not accepts(by_bundle(cosign, keys.strangers, path, root), root, no_network)
    flip(root / path)
    assert not accepts(by_bundle(cosign, keys.ours, path, root), root, no_network)


@pytest.mark.parametrize("path", ["export.json", "files.json"])
def test_cosign_verifies_the_provenance_of_both_its_subjects(
    cosign: Path, root: Path, keys: Keys, path: str, no_network: tuple[str, ...]
) -> None:
    assert accepts(by_provenance(cosign, keys.ours, path, root), root, no_network)
    assert not accepts(by_provenance(cosign, keys.strangers, path, root), root, no_network)
    assert not accepts(by_provenance(cosign, keys.ours, "README.md", root), root, no_network)
    flip(root / path)
    assert not accepts(by_provenance(cosign, keys.ours, path, root), root, no_network)


@pytest.mark.parametrize("path", SIGNED)
def test_openssl_agrees(openssl: Path, root: Path, key: Path, path: str, no_network: tuple[str, ...]) -> None:
    plain, _ = layout.signature_paths(path)
    der = root.parent / "signature.der"
    der.write_bytes(base64.b64decode((root / plain).read_bytes()))
    command: list[str | Path] = [openssl, "dgst", "-sha256", "-verify", key, "-signature", der, path]
    assert accepts(command, root, no_network)
    flip(root / path)
    assert not accepts(command, root, no_network)


def test_the_digest_beside_an_archive_is_signed_for_cosign(
    cosign: Path, keys: Keys, tmp_path: Path, no_network: tuple[str, ...]
) -> None:
    archive = small_mirror.mirror(tmp_path / "archive", tmp_path / "packed")
    beside = f"{archive.name}{layout.ARCHIVE_DIGEST}"
    signature = f"{archive.name}{layout.ARCHIVE_SIGNATURE}"

    def command(key: Path) -> list[str | Path]:
        return [
            cosign,
            "verify-blob",
            "--key",
            key,
            "--signature",
            signature,
            "--insecure-ignore-tlog=true",
            beside,
        ]

    assert accepts(command(keys.ours), archive.parent, no_network)
    assert not accepts(command(keys.strangers), archive.parent, no_network)
    flip(archive.parent / beside)
    assert not accepts(command(keys.ours), archive.parent, no_network)


def test_the_readme_gives_commands_that_work(
    cosign3: Path, root: Path, key: Path, no_network: tuple[str, ...]
) -> None:
    """Every cosign and openssl command of README.md, copied out of it and run in the bundle root by a shell."""
    text = (root / "README.md").read_text("ascii").replace("\\\n", " ")
    commands = [line.strip() for line in text.splitlines()
                if line.startswith(("    cosign ", "    openssl ", "    base64 "))]  # fmt: skip
    assert sum("cosign" in command for command in commands) == 6
    assert key.parent == root.parent
    tools = root.parent / "tools"
    tools.mkdir()
    (tools / "cosign").symlink_to(cosign3)
    for command in commands:
        done = subprocess.run(
            [*no_network, "sh", "-c", command], cwd=root, capture_output=True, text=True, timeout=60, check=False,
            env={"HOME": str(root.parent), "PATH": f"{tools}:/usr/bin:/bin"},
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stderr)


def test_what_cosign_signs_is_verified_here(
    cosign: Path, tmp_path: Path, no_network: tuple[str, ...], root: Path
) -> None:
    """The other way round: a `.sig` that cosign made with a key of its own."""
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "COSIGN_PASSWORD": "x"}
    options = ["--tlog-upload=false", "--yes"]
    if cosign.name == "cosign3":
        options += ["--use-signing-config=false", "--new-bundle-format=false"]
    commands: list[list[str | Path]] = [
        [*no_network, cosign, "generate-key-pair"],
        [*no_network, cosign, "sign-blob", "--key", "cosign.key", *options, "--output-signature", "x.sig",
         root / "export.json"],
    ]  # fmt: skip
    for command in commands:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    public = ecdsa_p256.load_public_key((tmp_path / "cosign.pub").read_bytes())
    digest = hashlib.sha256((root / "export.json").read_bytes()).digest()
    cosign_blob.verify((tmp_path / "x.sig").read_bytes().removesuffix(b"\n"), digest, public)
