"""The parts of `stella serve all`: each a process, begun again when it dies, ended with this one."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stellaops.cli.frame import App

_LOG = logging.getLogger("stellaops.serve")
_PROGRAM = "from stellaops.cli.start import main; main()"
_GRACE = 20.0  # seconds after SIGTERM until a part is killed
_LOOK = 0.2
_PAUSES = (0.5, 1, 2, 5, 10, 30)  # seconds before a part that died is begun again, one more each time
_SOUND = 60.0  # seconds after which a part counts as well again
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class _Part:
    """A process.

    Attributes:
        listening: the socket that it takes connections from.
        reloads: whether SIGHUP is passed on to it.
    """

    name: str
    arguments: Sequence[str]
    listening: socket.socket | None = None
    reloads: bool = False
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    deaths: int = 0
    next_at: float = 0.0


class Supervisor:
    """Runs the API on a socket that listens already, workers and mirrors, until SIGTERM or SIGINT.

    Args:
        mirrors: a socket for the mirrors; None where none are served.
    """

    def __init__(
        self,
        app: App,
        listening: socket.socket,
        certificate: tuple[Path, Path] | None,
        *,
        workers: int,
        slots: int | None,
        mirrors: socket.socket | None = None,
    ) -> None:
        self._app = app
        self._listening, self._mirrors = listening, mirrors
        self._stop = threading.Event()
        self._secure = certificate is not None
        self._is_mirror = False
        api = ["serve", "api", "--fd", str(listening.fileno())]
        if certificate is not None:
            api += ["--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1])]
        work = ["serve", "worker", *(["--slots", str(slots)] if slots else [])]
        self._parts = [
            _Part("api", api, listening),
            *(_Part(f"worker {n + 1}", work) for n in range(workers)),
            *([] if mirrors is None else [_mirror_part("gateway", "mirrors", mirrors)]),
        ]

    @classmethod
    def of_mirrors(
        cls, app: App, listening: socket.socket, part: str, processes: int, *options: str
    ) -> Supervisor:
        """Runs processes of a mirror host that share a socket; they are given the options."""
        found = cls(app, listening, None, workers=0, slots=None)
        found._parts = [_mirror_part(part, f"{part} {n + 1}", listening, *options) for n in range(processes)]
        found._is_mirror = True
        return found

    def run(self) -> int:
        """Until the end; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        if any(part.reloads for part in self._parts):
            signal.signal(signal.SIGHUP, lambda *_: self._pass_on(signal.SIGHUP))
        if not self._is_mirror:
            threading.Thread(target=self._welcome, daemon=True).start()
        while not self._stop.wait(_LOOK):
            for part in self._parts:
                self._look_after(part)
        return self._end()

    def _look_after(self, part: _Part) -> None:
        now = time.monotonic()
        if part.process is None:
            if now >= part.next_at:
                self._begin(part)
            return
        code = part.process.poll()
        if code is None:
            if part.deaths and now - part.began > _SOUND:
                part.deaths = 0
            return
        pause = _PAUSES[min(part.deaths, len(_PAUSES) - 1)]
        part.process, part.deaths, part.next_at = None, part.deaths + 1, now + pause
        text = "%s ended with %s and is begun again in %s s"
        _LOG.error(text, part.name, code, pause, extra={"event": "part.died", "part": part.name})

    def _begin(self, part: _Part) -> None:
        if self._stop.is_set():
            return
        part.began = time.monotonic()
        part.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *part.arguments, *self._common_options()],
            pass_fds=[] if part.listening is None else [part.listening.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the parts in order
        )

    def _common_options(self) -> list[str]:
        return ["--data-dir", str(self._app.settings.data_dir.absolute()), "--parent", str(os.getpid())]

    def _pass_on(self, number: signal.Signals) -> None:
        for part in self._parts:
            if part.reloads and part.process is not None and part.process.poll() is None:
                part.process.send_signal(number)

    def _end(self) -> int:
        """Ask every part to end, and kill what does not."""
        alive = [part for part in self._parts if part.process is not None]
        for part in alive:
            assert part.process is not None  # noqa: S101 - see above
            part.process.terminate()
        end = time.monotonic() + _GRACE
        for part in alive:
            assert part.process is not None  # noqa: S101 - see above
            try:
                part.process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                _LOG.error("%s did not end in time", part.name, extra={"event": "part.killed"})
                part.process.kill()
                part.process.wait()
        return 0

    def _welcome(self) -> None:
        """Say what to do next once the API takes connections."""
        host, port = self._listening.getsockname()[:2]
        url = f"http{'s' if self._secure else ''}://{f'[{host}]' if ':' in host else host}:{port}"
        while not self._stop.is_set() and not _answers(host, port):
            time.sleep(_LOOK)
        if self._stop.is_set():
            return
        told = self._app.settings.values["dataDir"]
        here = f" --data-dir {told.value}" if told.origin == "command line" else ""
        text = _text(url, here, first=not self._has_clients())
        if self._mirrors is not None:
            address, number = self._mirrors.getsockname()[:2]
            text += f"\nMirrors are served at {f'[{address}]' if ':' in address else address}:{number}"
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - for people

    def _has_clients(self) -> bool:
        return bool(self._app.local.clients.list())


def _mirror_part(part: str, name: str, listening: socket.socket, *options: str) -> _Part:
    arguments = ["serve", part, "--fd", str(listening.fileno()), *options]
    return _Part(name, arguments, listening, reloads=True)


def _answers(host: str, port: int) -> bool:
    """Whether the API takes a connection and speaks; the socket alone takes them before it does."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to be reached, not to listen on
    try:
        with socket.create_connection((near, port), timeout=5) as connection:
            connection.settimeout(5)
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


def _text(url: str, here: str, *, first: bool) -> str:
    lines = [f"StellaOps is ready at {url}"]
    if first:
        lines += [
            "",
            "What to do next, in another terminal:",
            "  1. Make the first client; its secret goes to a file of its own, and is kept nowhere else:",
            f"       stella authority bootstrap --secret-file admin.secret{here}",
            "  2. Log in with it:",
            f"       stella authority login --server {url} --client admin --secret-file admin.secret",
            "  3. Import advisories, and cut the first export:",
            f"       stella --server {url} concelier import ./advisories --source ghsa",
            f"       stella --server {url} export run submit --profile trivy:db --watch",
        ]
    return "\n".join([*lines, "", f"Health {url}/healthz · metrics {url}/metrics · API {url}/openapi.json"])


def end_with(parent: int) -> None:
    """Have this process asked to end when its parent does, even when that is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was too quick
        os.kill(os.getpid(), signal.SIGTERM)
