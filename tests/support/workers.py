"""A service without its API: a data directory with some evidence, its queue, and workers as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from stellaops.adapters.files.inputs import FileInputs
from stellaops.adapters.settings import load as settings
from stellaops.bootstrap import Local, now
from stellaops.exports.control_runs import ControlTools
from stellaops.exports.profile import Profile, Spec
from stellaops.exports.run import ENDED, Priority, Run, RunStatus
from stellaops.exports.submit_run import Submission, submit_run
from stellaops.ingest.import_documents import ImportRequest, import_documents

TENANT = "default"
_PROGRAM = (
    "from stellaops.core.collecting import look_seldom; look_seldom();"
    "from tests.support.worker_process import main; main()"
)
_TRIVY = """#!/bin/sh
# Stands for a scanner that is not there, hangs, fails, or takes its whole process group with it.
case "$(cat {place}/trivy.does)" in
  hang) echo $$ >> {place}/trivy.pids; exec sleep 120 ;;
  fail) if [ "$1" = --version ]; then echo "Version: 0.0.0"; exit 0; fi; exit 1 ;;
  die) kill -9 0 ;;
esac
exit 1
"""


@dataclass
class WorkerProcess:
    """A worker that was started by a test; `log` is all that it printed."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def log(self) -> str:
        return self.output.read_text(errors="replace")

    @property
    def id(self) -> str:
        """Its name, which it says when it takes work."""
        wait_for(lambda: "ready " in self.log or self.process.poll() is not None, 60)
        assert "ready " in self.log, self.log
        return self.log.partition("ready ")[2].split()[0]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(30)


@dataclass
class Service:
    """One data directory, on one of the databases."""

    place: Path
    url: str | None = None
    more: dict[str, str] = field(default_factory=dict)
    """Further settings of its processes."""
    _ends: ExitStack = field(default_factory=ExitStack)
    _number: int = 0

    def __post_init__(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        program = self.place / "trivy"
        program.write_text(_TRIVY.format(place=self.place))
        program.chmod(0o755)
        self.trivy("none")
        if self.url is not None:
            for store in self.local.stores.chosen(()):
                store.migrate()
                store._engine.dispose()

    @property
    def variables(self) -> dict[str, str]:
        """The settings, as a process gets them."""
        found = {
            "STELLA_CONFIG": str(self.place / "none.yaml"),
            "STELLA_DATA_DIR": str(self.place / "data"),
            "STELLA_TRIVY": str(self.place / "trivy"),
            **self.more,
        }
        if self.url is not None:
            found |= {"STELLA_STORE_EVIDENCE": self.url, "STELLA_STORE_SERVICE": self.url}
        return found

    @cached_property
    def local(self) -> Local:
        return Local(settings.load({}, self.variables))

    @property
    def controls(self) -> ControlTools:
        return replace(self.local.control_tools, queue=self.local.queue)

    def trivy(self, does: str) -> None:
        """From now on the scanner is absent (`none`), or does `hang`, `fail`, `die`."""
        (self.place / "trivy.does").write_text(does)

    def fill(self, count: int = 50, name: str = "ghsa") -> None:
        """Import some small advisories."""
        source = self.place / name
        source.mkdir(exist_ok=True)
        for number in range(count):
            identifier = f"GHSA-{number:04d}-{name[:4]:a<4}-bbbb"
            package = {"package": {"ecosystem": "PyPI", "name": f"{name}-{number}"}}
            ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2.3"}]}]
            document = {
                "schema_version": "1.6.0",
                "id": identifier,
                "modified": "2024-05-01T00:00:00Z",
                "published": "2024-04-01T00:00:00Z",
                "summary": f"All about {identifier}",
                "affected": [package | {"ranges": ranges}],
            }
            (source / f"{identifier}.json").write_text(json.dumps(document))
        import_documents(
            ImportRequest(name),
            FileInputs([source]),
            sources=self.local.sources,
            store=self.local.imports,
            now=now,
        )

    def profile(self, name: str, tenant: str = TENANT, **spec: object) -> None:
        """Store a profile."""
        wanted = Spec(**({"kind": "json", "variant": "raw"} | spec))  # type: ignore[arg-type]
        self.local.profiles.add(Profile(name, tenant, "r1", wanted, created_at=now()))

    def submit(
        self, profile: str = "json:raw", tenant: str = TENANT, priority: Priority = Priority.NORMAL
    ) -> Run:
        return submit_run(Submission(tenant, profile, priority=priority), self.local.submit_tools)

    def run(self, run: Run) -> Run:
        """The record as it is."""
        found = self.local.runs.get(run.tenant, run.id)
        assert found is not None
        return found

    def started(self, run: Run, seconds: float = 30) -> Run:
        return self.until(run, lambda found: found.status is not RunStatus.PENDING, seconds)

    def ended(self, run: Run, seconds: float = 60) -> Run:
        return self.until(run, lambda found: found.status in ENDED, seconds)

    def until(self, run: Run, holds: Callable[[Run], bool], seconds: float = 30) -> Run:
        wait_for(lambda: holds(self.run(run)), seconds, lambda: f"{self.run(run)}\n{self.logs}")
        return self.run(run)

    @property
    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.place.glob("worker-*.log")))

    def worker(self, *options: str, wait: bool = True, **more: str) -> WorkerProcess:
        """Start a worker; it is ended with the service."""
        self._number += 1
        output = self.place / f"worker-{self._number}.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STELLA_")}
        with output.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *options],
                env=kept | self.variables | more,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).parents[2],
            )
        worker = WorkerProcess(process, output)
        self._ends.callback(worker.end)
        if wait:
            assert worker.id
        return worker

    def hung_scanners(self) -> Sequence[int]:
        """Processes of the scanner that hang."""
        file = self.place / "trivy.pids"
        pids = [int(line) for line in file.read_text().split()] if file.exists() else []
        return [pid for pid in pids if _is_alive(pid)]

    def close(self) -> None:
        self._ends.close()
        if "queue" in self.local.__dict__:
            self.local.queue.close()
        for engine in ("evidence_engine", "service_engine"):
            if engine in self.local.__dict__:
                getattr(self.local, engine).dispose()


@contextmanager
def service(place: Path, url: str | None = None) -> Iterator[Service]:
    """A service, ended with all its processes."""
    found = Service(place, url)
    try:
        yield found
    finally:
        found.close()


def wait_for(holds: Callable[[], bool], seconds: float, told: Callable[[], str] = lambda: "") -> None:
    """Wait until something holds; the test fails where it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {told()}"
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        return b"\nState:\tZ" not in Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return False
