"""The kit's own program: what it says to a terminal, and where it cannot say it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stellaops.kit import chunks

PROGRAM = "import pathlib; from stellaops.kit.command_line import run; run(keys=pathlib.Path('/nowhere'))"


def ask(redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", f'"$@" {redirection}', "bash", sys.executable, "-c", PROGRAM, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_error_steers_no_terminal() -> None:
    done = ask("", "join", "/nowhere/\x1b[31m\nforged", "--to", "/nowhere/out")
    assert done.returncode == 5
    assert r"/nowhere/\x1b[31m\nforged" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_an_output_that_is_closed_or_full_is_told(redirection: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    chunks.split([tmp_path / "file"], tmp_path / "cut", chunks.SMALLEST)
    done = ask(redirection, "join", str(tmp_path / "cut"), "--to", str(tmp_path / "out"))
    assert done.returncode == 5, done
    assert done.stderr.startswith("error ERR_OUTPUT_UNWRITABLE: ")
    assert (tmp_path / "out").exists() == (redirection == ">/dev/full")
