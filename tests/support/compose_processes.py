"""The services of a compose file as plain processes: the same commands, environments and secret files, other places.

What an engine would do is done here: paths in a container become paths below a directory, names of services and their
ports become free ports of this machine. Where this machine lets us, a process runs as the user that its service names.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from tests.support.api import free_port
from tests.support.deploy import DEPLOY, resolved
from tests.support.tools import ROOT

PROGRAMS = f"{ROOT / '.venv/bin'}:{DEPLOY / 'docker'}:{os.environ.get('PATH', '')}"
_STELLA = [sys.executable, "-c", "from stellaops.cli.start import main; main()"]


@dataclass
class Stack:
    """Services of one profile.

    Attributes:
        place: where the compose files lie.
        root: where volumes are made; open to the users of the services.
        wire: what Compose understood.
    """

    place: Path
    root: Path
    wire: dict[str, Any]
    programs: str = PROGRAMS
    _ports: dict[tuple[str, int], int] = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def port(self, service: str, port: int) -> int:
        """Where a service listens instead of one of its ports."""
        return self._ports.setdefault((self._near(service), port), 0) or self._take(service, port)

    def _take(self, service: str, port: int) -> int:
        self._ports[self._near(service), port] = free_port()
        return self._ports[self._near(service), port]

    def _near(self, service: str) -> str:
        """The service whose network one shares."""
        mode = str(self.wire["services"][service].get("network_mode", ""))
        return mode.partition("service:")[2] or service

    def here(self, service: str, path: str) -> Path:
        """Where a path of a service lies."""
        return Path(self._places(service, path))

    def environment(self, service: str) -> dict[str, str]:
        """The environment that the compose file gives, and what every program needs."""
        told = {
            "PATH": self.programs,
            "HOME": str(self._temporary(service)),
            "TMPDIR": str(self._temporary(service)),
        }
        for name, value in (self.wire["services"][service].get("environment") or {}).items():
            if value is not None:
                told[name] = (
                    "127.0.0.1" if value in self.wire["services"] else self._told(service, str(value))
                )
        return told

    def words(self, service: str) -> list[str]:
        """The command that the compose file gives."""
        wire = self.wire["services"][service]
        entry = [str(word) for word in wire.get("entrypoint") or ("stella",)]
        return self._translated(service, [*entry, *(str(word) for word in wire.get("command") or ())])

    def start(self, service: str, *more: str) -> None:
        """Start a service, and do not wait."""
        assert service not in self._processes, f"{service} runs already"
        with (self.root / f"{service}.log").open("ab") as log:
            self._processes[service] = subprocess.Popen(
                [*self.words(service), *more], stdout=log, stderr=log, **self._surroundings(service)
            )

    def once(self, service: str, *more: str) -> subprocess.CompletedProcess[str]:
        """A service that runs to its end."""
        return self._run(service, [*self.words(service), *more])

    def run(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        """As `docker compose run --rm SERVICE WORDS`, of one of our own services."""
        return self._run(service, self._translated(service, ["stella", *words]))

    def health(self, service: str) -> tuple[int, str]:
        """What the health check of a service says."""
        kind, *words = self.wire["services"][service]["healthcheck"]["test"]
        assert kind == "CMD", words
        done = self._run(service, self._translated(service, [str(word) for word in words]))
        return done.returncode, done.stderr

    def until_healthy(self, service: str, seconds: float = 240) -> None:
        """Wait until the health check of a service says so."""
        end = time.monotonic() + seconds
        while (told := self.health(service))[0]:
            process = self._processes[service]
            assert process.poll() is None, self.log(service)[-3000:]
            assert time.monotonic() < end, f"{told[1]}\n{self.log(service)[-3000:]}"
            time.sleep(0.3)

    def until_answers(self, service: str, port: int, path: str, seconds: float = 240) -> None:
        """Wait until a service that is not ours answers 200."""
        end = time.monotonic() + seconds
        url = f"http://127.0.0.1:{self.port(service, port)}{path}"
        while True:
            assert self._processes[service].poll() is None, self.log(service)[-3000:]
            with suppress(OSError), urllib.request.urlopen(url, timeout=2):
                return
            assert time.monotonic() < end, self.log(service)[-3000:]
            time.sleep(0.2)

    def log(self, service: str) -> str:
        """What a service has written."""
        return (self.root / f"{service}.log").read_text(errors="replace")

    def end(self) -> dict[str, int]:
        """Ask every service to end; exit codes."""
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.terminate()
        codes = {}
        for service, process in self._processes.items():
            try:
                # SeaweedFS takes half a minute to say goodbye; nothing of it is kept.
                codes[service] = process.wait(1 if service == "objects" else 20)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[service] = process.wait(10)
        self._processes.clear()
        return codes

    def _run(self, service: str, words: list[str]) -> subprocess.CompletedProcess[str]:
        surroundings = self._surroundings(service)
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=180, **surroundings)

    def _surroundings(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "env": self.environment(service), "cwd": self._temporary(service), "stdin": subprocess.DEVNULL,
        }  # fmt: skip
        if may_be_others():
            user, _, group = str(self.wire["services"][service]["user"]).partition(":")
            found |= {"user": int(user), "group": int(group), "extra_groups": []}
        return found

    def _translated(self, service: str, words: list[str]) -> list[str]:
        found = []
        for before, word in zip(["", *words], words, strict=False):
            is_port = before == "--port" and word.isdecimal()
            found.append(str(self.port(service, int(word))) if is_port else self._told(service, word))
        if found[0] == "stella":
            found = [*_STELLA, *found[1:]]
        elif found[0] == "stella-health":
            found = [sys.executable, str(DEPLOY / "docker/stella-health"), *found[1:]]
        return found

    def _told(self, service: str, text: str) -> str:
        text = self._places(service, text).replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - taken away, not listened on
        names = "|".join(map(re.escape, self.wire["services"]))

        def address(found: re.Match[str]) -> str:
            name = service if found[1] == "127.0.0.1" else found[1]
            return f"127.0.0.1:{self.port(name, int(found[2]))}"

        return re.sub(rf"(?<![\w.-])({names}|127\.0\.0\.1):(\d+)", address, text)

    def _places(self, service: str, text: str) -> str:
        mounts = self._mounts(service)
        targets = "|".join(map(re.escape, mounts))
        return re.sub(rf"(?<![\w./-])({targets})(?![\w.-])", lambda found: str(mounts[found[1]]), text)

    def _mounts(self, service: str) -> dict[str, Path]:
        """Places in the container and here, the longest first."""
        wire = self.wire["services"][service]
        found = {"/tmp": self._temporary(service)}
        for each in wire.get("tmpfs") or ():
            target = each.partition(":")[0]
            found.setdefault(target, self._owned(self.root / "tmpfs" / service / target.strip("/")))
        for each in wire.get("volumes") or ():
            found[each["target"]] = (
                Path(each["source"]) if each["type"] == "bind" else self._volume(each["source"])
            )
        for each in wire.get("secrets") or ():
            target = PurePosixPath("/run/secrets") / (each.get("target") or each["source"])
            found[str(target)] = Path(self.wire["secrets"][each["source"]]["file"])
        return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))

    def nest(self) -> None:
        """Volumes that are mounted inside others: a link stands in the outer one."""
        for service in self.wire["services"]:
            mounts = self._mounts(service)
            for inner, source in mounts.items():
                for outer, place in mounts.items():
                    within = PurePosixPath(inner)
                    if (
                        inner != outer
                        and within.is_relative_to(outer)
                        and place.is_relative_to(self.root / "volumes")
                    ):
                        link = place / within.relative_to(outer)
                        if not link.is_symlink():
                            link.symlink_to(source)

    def _volume(self, name: str) -> Path:
        options = self.wire["volumes"][name].get("driver_opts") or {}
        if _is_of_the_host(options):
            return Path(options["device"])
        return self._owned(self.root / "volumes" / name)

    def _temporary(self, service: str) -> Path:
        return self._owned(self.root / "tmp" / service)

    def _owned(self, place: Path) -> Path:
        if not place.exists():
            place.mkdir(parents=True)
            if may_be_others():
                os.chown(place, 10001, 10001)
        return place


def _is_of_the_host(options: Mapping[str, str]) -> bool:
    """Whether a volume is a directory that is there before the services are."""
    return "device" in options and options.get("type") != "tmpfs"


@functools.cache
def may_be_others() -> bool:
    """Whether processes can run as the users of the services: as root, with a Python that others may start."""
    if os.geteuid() != 0:
        return False
    try:
        tried = subprocess.run(
            [sys.executable, "-c", ""], user=10001, group=10001, extra_groups=[], check=False
        )
    except PermissionError:
        return False
    return tried.returncode == 0


@contextmanager
def stack(place: Path, root: Path, profile: str = "full") -> Iterator[Stack]:
    """The services of a profile; all that were started are ended by their process ids."""
    made = Stack(place, root, resolved(place, profile))
    for name, volume in made.wire.get("volumes", {}).items():
        if _is_of_the_host(volume.get("driver_opts") or {}):
            assert Path(volume["driver_opts"]["device"]).is_dir(), name
    made.nest()
    try:
        yield made
    finally:
        made.end()


def settings_of(wire: Mapping[str, Any], service: str) -> dict[str, str]:
    """`-c name=value` of PostgreSQL's command."""
    words = [str(word) for word in wire["services"][service].get("command") or ()]
    return dict(word.split("=", 1) for before, word in pairwise(words) if before == "-c")
