"""The command line as tests use it: in this process where that says as much, else as a process of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stellaops.cli.frame import run
from stellaops.cli.main import stella as root_command

PROCESS = (sys.executable, "-c", "from stellaops.cli.start import main; main()")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@contextmanager
def streams() -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """Standard output and standard error of this process, caught for a while."""
    out, err = io.BytesIO(), io.BytesIO()
    kept = sys.stdout, sys.stderr
    sys.stdout = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(err, encoding="utf-8", write_through=True)
    try:
        yield out, err
    finally:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
                stream.detach()
        sys.stdout, sys.stderr = kept


def call(*arguments: str) -> Answer:
    """Run a command line in this process."""
    with streams() as (out, err):
        try:
            run(root_command, list(arguments))
        except SystemExit as stop:
            code = stop.code
    assert isinstance(code, int)
    return Answer(code, out.getvalue().decode(), err.getvalue().decode())


def environment(**more: str) -> dict[str, str]:
    """This process's variables without the product's own, and some more."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STELLA_", "TRIVY_"))}
    return kept | {"XDG_CONFIG_HOME": "/nonexistent"} | more


def spawn(
    *arguments: str,
    before: Sequence[str] = (),
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Answer:
    """Run a command line as a process, with the words of `before` in front of it."""
    done = subprocess.run(
        [*before, *PROCESS, *arguments],
        env=environment(**(variables or {})),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Stella:
    """The command line on one data directory."""

    data_dir: Path
    more: tuple[str, ...] = field(default=())

    def ask(self, *arguments: str) -> Answer:
        """Run a command, whatever comes of it."""
        return call("--data-dir", str(self.data_dir), *self.more, *arguments)

    def __call__(self, *arguments: str) -> Any:
        """The JSON that a command answers; it must succeed and say nothing else."""
        answer = self.ask(*arguments, "--format", "json")
        assert answer.code == 0, answer.err
        return answer.value

    def refused(self, code: int, error: str, *arguments: str) -> str:
        """What a command says on standard error when it ends with an exit code and an error code.

        On standard output there is nothing then, or the record of a run that failed.
        """
        answer = self.ask(*arguments)
        assert answer.code == code, answer
        assert not answer.out or answer.value["status"] == "failed", answer
        assert answer.err.startswith(f"error {error}: "), answer.err
        assert "\n→ " in answer.err
        return answer.err

    def of_tenant(self, tenant: str) -> Stella:
        """The same data directory as another tenant."""
        return Stella(self.data_dir, (*self.more, "--tenant", tenant))

    def take(self, folder: Path, source: str, *documents: Mapping[str, Any], more: Sequence[str] = ()) -> Any:
        """Write documents into a folder and import it."""
        folder.mkdir(parents=True, exist_ok=True)
        for document in documents:
            (folder / f"{document['id'].replace(':', '_')}.json").write_text(
                json.dumps(document), encoding="utf-8"
            )
        return self("concelier", "import", str(folder), "--source", source, *more)

    def submit(self, profile: str, *arguments: str) -> Any:
        """Run an export to its successful end."""
        run_record = self("export", "run", "submit", "--profile", profile, *arguments)
        assert run_record["status"] == "succeeded"
        return run_record

    def bundle(self, run_record: Mapping[str, Any]) -> Path:
        """The bundle root of a run."""
        return self.data_dir / "exports" / str(run_record["exportId"]) / str(run_record["archiveId"])


def osv(identifier: str, *affected: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A small OSV document."""
    return {
        "schema_version": "1.7.3",
        "id": identifier,
        "modified": "2026-01-02T03:04:05Z",
        "summary": f"about {identifier}",
        "details": f"All about {identifier}.",
        "affected": list(affected),
        **more,
    }


def package(ecosystem: str, name: str, *events: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """An affected entry with one range, or with none where no events are given."""
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}] if events else []
    return {
        "package": {"ecosystem": ecosystem, "name": name},
        **({"ranges": ranges} if ranges else {}),
        **more,
    }


def until(fixed: str, introduced: str = "0") -> tuple[dict[str, str], dict[str, str]]:
    """The events of a range that ends with a fix."""
    return {"introduced": introduced}, {"fixed": fixed}
