"""Stock cosign and openssl verify what a mirror serves, as its readers are told to, and refuse a changed byte."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.publishing import Publisher


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A published root; its files are changed and set right again."""
    publisher = Publisher(tmp_path_factory.mktemp("published") / "data").filled()
    publisher.domain("primary", advisories={"formats": []}, vex={"formats": ["openvex"]})
    publisher.publish()
    yield publisher.root.root
    publisher.close()


SIGNED = (
    "concelier/latest/mirror/primary/manifest.json",
    "concelier/latest/mirror/primary/bundle.json",
    "concelier/latest/mirror/primary/tree.json",
    "concelier/freshness/primary.json",
    "excititor/latest/mirror/primary/index.json",
    "excititor/latest/mirror/primary/exports/consensus-openvex.openvex.json",
)


def accepts(command: list[str | Path], folder: Path) -> bool:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return done.returncode == 0


@pytest.mark.parametrize("name", SIGNED)
def test_the_signatures_of_what_is_served_hold_for_others(tree: Path, tmp_path: Path, name: str) -> None:
    file, key = tree / name, tree / "concelier/latest/mirror/primary/mirror-key.pub"
    signature = file.with_name(f"{file.name}.sig")
    der = tmp_path / "signature.der"
    der.write_bytes(base64.b64decode(signature.read_bytes()))
    offline = "--insecure-ignore-tlog=true"
    commands: list[list[str | Path]] = [
        [tools.require("cosign2"), "verify-blob", "--key", key, "--signature", signature, offline, file],
        [tools.require("cosign3"), "verify-blob", "--key", key, "--signature", signature, offline, file],
        [tools.require("openssl"), "dgst", "-sha256", "-verify", key, "-signature", der, file],
    ]
    bundle = file.with_name(f"{file.name}.sigstore.json")
    if bundle.exists():
        commands.append(
            [tools.require("cosign3"), "verify-blob", "--key", key, "--bundle", bundle, offline, file]
        )
    data = file.read_bytes()
    assert [accepts(command, tmp_path) for command in commands] == [True] * len(commands)
    try:
        file.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
        assert [accepts(command, tmp_path) for command in commands] == [False] * len(commands)
    finally:
        file.write_bytes(data)
