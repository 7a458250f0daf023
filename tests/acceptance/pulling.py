"""`stella concelier pull` and `stella excititor pull` against a server of this test."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.acceptance.importing import COMMAND, Answer, called, environment
from tests.support.tools import ROOT

# This machine's own addresses, for which alone the policy is opened; a proxy of the surroundings is left out.
OPEN = {
    "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8",
    "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1",
    "STELLA_EGRESS_NO_PROXY": "127.0.0.1",
}


def start(
    data: Path, *arguments: object, product: str = "concelier", **variables: str
) -> subprocess.Popen[bytes]:
    """Begin a command as a process."""
    command = [*COMMAND, "--data-dir", str(data), "--format", "json", product, *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment() | OPEN | variables,
        cwd=ROOT,
    )


def concelier(data: Path, *arguments: object, product: str = "concelier", **variables: str) -> Answer:
    """Run a command in this process."""
    return called(data, product, *arguments, **OPEN | variables)


def process(data: Path, *arguments: object, product: str = "concelier") -> Answer:
    """Run a command as a process."""
    with start(data, *arguments, product=product) as begun:
        out, err = begun.communicate(timeout=300)
    return Answer(begun.returncode, out, err.decode())


def pulled(
    data: Path, *arguments: object, product: str = "concelier", by: Callable[..., Answer] = concelier
) -> dict[str, Any]:
    """The report of a pull of one source that must succeed."""
    answer = by(data, "pull", *arguments, product=product)
    assert answer.code == 0, answer.err
    (report,) = answer.value
    assert report["state"] == "ok"
    found: dict[str, Any] = report
    return found


def add_bucket(data: Path, name: str, url: str, *ecosystems: str) -> None:
    options = [word for each in ecosystems for word in ("--option", f"ecosystems={each}")]
    answer = concelier(
        data, "sources", "add", name, "--layout", "osv-bucket", "--url", url, "--prune", *options
    )
    assert answer.code == 0, answer.err
