"""Where tests write: in memory where there is plenty of it, for a disk's waits prove nothing to most tests."""

from __future__ import annotations

import compileall
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.support.tools import ROOT

MEMORY = Path("/dev/shm")
ENOUGH = 8 << 30
"""Bytes that must be free in memory; a whole quick run of three processes writes less than half of it at once."""
_NAME = "stella-"  # short: a socket in it must have a path of 107 bytes at most


def in_memory() -> Path | None:
    """Point temporary files of this process and its children into memory; None where that does not suit.

    `TMPDIR` in the environment overrules it. The caller gives the directory back with `give_back`.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return None
    _clear_up()
    if min(shutil.disk_usage(MEMORY).free, _available()) < ENOUGH:
        return None
    place = MEMORY / f"{_NAME}{os.getpid()}"
    place.mkdir(mode=0o711)  # servers that run as another user pass through
    place.chmod(0o711)
    os.environ["TMPDIR"] = str(place)
    tempfile.tempdir = None
    return place


def give_back(place: Path) -> None:
    """Free the memory."""
    shutil.rmtree(place, ignore_errors=True)
    os.environ.pop("TMPDIR", None)
    tempfile.tempdir = None


def _clear_up() -> None:
    """Free what killed runs left."""
    for left in MEMORY.glob(f"{_NAME}*"):
        number = left.name.removeprefix(_NAME)
        if number.isdecimal() and not Path("/proc", number).exists():
            shutil.rmtree(left, ignore_errors=True)


def _available() -> int:
    """Bytes of memory that processes may still take."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 0)


def compile_once() -> None:
    """Compile our modules where Python would not keep that, so that not every process of a test does it again."""
    if sys.dont_write_bytecode:
        compileall.compile_dir(ROOT / "src" / "stellaops", quiet=2)
