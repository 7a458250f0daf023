"""`stella` as a process, and inputs big enough to be interrupted."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from stellaops.cli.frame import run
from stellaops.cli.main import stella as root_command
from tests.contract.stores import as_bytes, osv, sqlite_store
from tests.support.tools import ROOT
from tests.unit.cli.running import streams

COMMAND = (sys.executable, "-c", "from stellaops.cli.start import main; main()")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: bytes
    err: str

    @property
    def value(self) -> Any:
        return json.loads(self.out)


def command(data: Path, *arguments: object) -> list[str]:
    return [*COMMAND, "--data-dir", str(data), "--format", "json", *map(str, arguments)]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STELLA", "COV_"))}
    return kept | {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}


def start(data: Path, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(data, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        cwd=ROOT,
        # A shell's background job ignores this signal, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one call, no threads
    )


def stella(data: Path, *arguments: object) -> Answer:
    with start(data, *arguments) as process:
        out, err = process.communicate(timeout=300)
    return Answer(process.returncode, out, err.decode())


def called(data: Path, *arguments: object, **variables: str) -> Answer:
    """The same in this process, for what a process of its own would say no better."""
    line = ["--data-dir", str(data), "--format", "json", *map(str, arguments)]
    with patch.dict(os.environ, environment() | variables, clear=True), streams() as (out, err):
        try:
            run(root_command, line)
        except SystemExit as stop:
            code = stop.code
    assert isinstance(code, int)
    return Answer(code, out.getvalue(), err.getvalue().decode())


def imported(data: Path, *arguments: object, by: Callable[..., Answer] = stella) -> dict[str, Any]:
    """The report of an import that must succeed."""
    answer = by(data, "concelier", "import", *arguments)
    assert answer.code == 0, answer.err
    report: dict[str, Any] = answer.value
    return report


def failed(answer: Answer, code: int, error: str) -> None:
    """The answer is the error that is meant, said as every error is said."""
    assert (answer.code, answer.out) == (code, b""), answer.err
    first, *rest = answer.err.splitlines()
    assert first.startswith(f"error {error}: "), answer.err
    assert rest[-1].startswith("→ "), answer.err


def pack(path: Path, files: Mapping[str, object]) -> Path:
    """A zip archive with a fixed time on it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), as_bytes(content))
    return path


def older_and_newer(directory: Path, size: int) -> tuple[Path, Path]:
    """Two listings of one source: much is added, changed, withdrawn, gone, broken, or there twice."""
    older, newer = {}, {}
    for number in range(size):
        identifier = f"PYSEC-2024-{number:05}"
        document = osv(identifier, details=f"About {number}. " + "padding " * (number * 7 % 200))
        if number % 3:
            older[f"vulns/{identifier}.json"] = json.dumps(document, indent=number % 2 or None)
        if number % 7 == 0:
            document["summary"] = "Changed since"
        if number % 35 == 0:
            document["withdrawn"] = "2024-06-01T00:00:00Z"
        if number % 11:
            newer[f"vulns/{identifier}.json"] = json.dumps(document)
        if number % 41 == 0:
            newer[f"again/{identifier}.json"] = json.dumps(document | {"modified": "2024-05-02T00:00:00Z"})
        if number % 97 == 0:
            newer[f"vulns/{identifier}.json"] = f'{{"id": "{identifier}", '
    return pack(directory / "older.zip", older), pack(directory / "newer.zip", newer)


def state(data: Path) -> tuple[str, int, list[bytes], list[tuple[str, str]]]:
    """Everything that an export or a reader could see, and the sequence."""
    store = sqlite_store(data)
    quarantine = [(entry.path, entry.raw_digest) for entry in store.quarantine.list(None)]
    found = store.digest(), store.sequence, store.lines(), quarantine
    store.engine.dispose()
    return found


def pending(data: Path) -> tuple[str, int, int] | None:
    """State and position of the newest import, and how many are done; None before the first."""
    file = data / "evidence.db"
    if not file.exists():
        return None
    with closing(sqlite3.connect(file, timeout=60)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'job'").fetchone():
            return None
        done = "(SELECT count(*) FROM job WHERE state = 'done')"
        query = f"SELECT state, position, {done} FROM job ORDER BY id DESC LIMIT 1"  # noqa: S608 - our own words
        found = connection.execute(query).fetchone()
    return found and (str(found[0]), int(found[1]), int(found[2]))


def is_sound(data: Path) -> bool:
    """Whether the database is whole and nothing is left over from an import."""
    with closing(sqlite3.connect(data / "evidence.db")) as connection:
        ok = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        staged = connection.execute("SELECT count(*) FROM staged").fetchone()[0]
        orphans = connection.execute(
            "SELECT count(*) FROM document WHERE id NOT IN (SELECT id FROM revision)"
        ).fetchone()[0]
    return bool(ok and staged == 0 and orphans == 0)
