"""Child processes from the outside: started ahead of need, listened to, killed with all that they started."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from typing import IO

import msgspec

from stellaops.worker.child import Outcome, environment

_MODULE = "stellaops.worker.child"
_PROGRAM = "from stellaops.core.collecting import look_seldom; look_seldom(); from {} import main; main()"
_TAIL = 2000


class Child:
    """One process, waiting for its order or at work.

    Args:
        module: whose `main` it runs.
    """

    def __init__(self, module: str = _MODULE) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            (sys.executable, "-c", _PROGRAM.format(module)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(os.environ),
            start_new_session=True,
        )
        self._answer = b""

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def begin(self, order: bytes) -> None:
        """Give it its order; one that has died meanwhile answers nothing."""
        stdin = self._process.stdin
        if stdin is not None:
            with suppress(BrokenPipeError):
                stdin.write(order)
                stdin.flush()

    def wait(self, seconds: float) -> bool:
        """Listen for a while; whether it has ended."""
        stdout = self._process.stdout
        if stdout is None:
            return True
        ready, _, _ = select.select([stdout], [], [], seconds)
        if not ready:
            return False
        piece = os.read(stdout.fileno(), 65536)
        self._answer += piece
        return piece == b""

    @property
    def answer(self) -> bytes:
        """All that it said."""
        return self._answer

    @property
    def outcome(self) -> Outcome | None:
        """What it said at its end; None where it died."""
        try:
            return msgspec.json.decode(self._answer, type=Outcome)
        except msgspec.DecodeError:
            return None

    @property
    def last_words(self) -> str:
        """How it ended, and the end of what it printed."""
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - _TAIL))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {lines[-1]}" if lines else how

    def kill(self) -> None:
        """End it and everything that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Let go of a process that has ended, or is ended by this."""
        self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


class Children:
    """All child processes of a worker. One waits for its order, so that a run need not wait for a process to start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: set[Child] = set()
        self._spare: Child | None = None
        self._closed = False

    def prepare(self) -> None:
        """Have one wait."""
        with self._lock:
            if self._spare is None and not self._closed:
                self._spare = self._started()

    def take(self) -> Child:
        """A process for one order."""
        with self._lock:
            child, self._spare = self._spare, None
            if child is None or not child.is_alive:
                child = self._started()
        return child

    def done(self, child: Child) -> None:
        """End a process."""
        child.close()
        with self._lock:
            self._all.discard(child)

    def kill_all(self) -> None:
        """End every process, and start none any more."""
        with self._lock:
            self._closed = True
            for child in self._all:
                child.kill()

    def _started(self) -> Child:
        child = Child()
        self._all.add(child)
        return child
