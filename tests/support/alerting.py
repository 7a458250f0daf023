"""Prometheus and Alertmanager as real processes, and somebody who is told."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import urllib3

from tests.support import tools
from tests.support.api import free_port
from tools.monitoring.__main__ import files
from tools.monitoring.rules import ROUTES
from tools.monitoring.settings import Monitoring


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert of one notification."""

    receiver: str
    name: str
    status: str
    labels: dict[str, str]
    summary: str


@dataclass
class Watch:
    """What somebody is told."""

    prometheus: str
    logs: Sequence[Path]
    notices: list[Notice] = field(default_factory=list)

    def told(self, name: str, status: str) -> list[Notice]:
        """Notices of an alert that began (`firing`) or ended (`resolved`)."""
        return [each for each in self.notices if (each.name, each.status) == (name, status)]

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers to an expression."""
        answer = urllib3.request(
            "GET", f"{self.prometheus}/api/v1/query", fields={"query": expression}, timeout=10
        )
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def log(self) -> str:
        """What both programs said."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in self.logs)


@contextmanager
def watching(place: Path, wanted: Monitoring) -> Iterator[Watch]:
    """Both programs with the files that the settings make, until the block ends; every receiver is the one here."""
    place.mkdir(parents=True, exist_ok=True)
    ports = [free_port(), free_port()]
    address, manager = (f"127.0.0.1:{port}" for port in ports)
    found = Watch(f"http://{address}", [place / "prometheus.log", place / "alertmanager.log"])
    with ExitStack() as ends:
        told_at = ends.enter_context(_receiver(found))
        receivers = {name: ({"webhook": told_at},) for name in ROUTES}
        for name, text in files(replace(wanted, receivers=receivers, alertmanager=manager)).items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        own: tuple[str, ...] = (
            f"--web.listen-address={manager}",
            "--cluster.listen-address=",
            "--storage.path=alerts",
        )
        ends.enter_context(_running(place, "alertmanager", *own))
        own = (f"--web.listen-address={address}", "--storage.tsdb.path=series")
        ends.enter_context(_running(place, "prometheus", *own))
        _until_ready(found, f"http://{manager}/-/ready")
        _until_ready(found, f"http://{address}/-/ready")
        yield found


@contextmanager
def _receiver(watch: Watch) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            wire = json.loads(self.rfile.read(int(self.headers["content-length"])))
            receiver = wire["receiver"].replace("\\", "")  # dots come escaped
            for alert in wire["alerts"]:
                labels, summary = alert["labels"], alert["annotations"]["summary"]
                watch.notices.append(Notice(receiver, labels["alertname"], alert["status"], labels, summary))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _running(place: Path, program: str, *words: str) -> Iterator[None]:
    with (place / f"{program}.log").open("wb") as out:
        process = subprocess.Popen(
            [tools.require(program), f"--config.file={program}.yaml", "--log.level=warn", *words],
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _until_ready(watch: Watch, url: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if urllib3.request("GET", url, timeout=5, retries=False).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(watch.log())
