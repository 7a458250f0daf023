"""Bring the programs that tests run as peers into `.tools/bin`, without touching the system.

cosign 2 and 3, and age, come from the next releases of Debian: with a package list of our own, made from the mirror
that this machine is configured for, then `apt-get download` and `dpkg -x`. No root is needed and nothing is installed.
What cannot be had is listed with its reason in `.tools/missing.txt`; the tests that need it then skip, or fail in CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"


class Unavailable(Exception):
    """A tool cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program inside a Debian package.

    `generation` is how the package's version begins; `trial` are arguments with which the program just exits 0.
    """

    name: str
    package: str
    suite: str
    generation: str
    member: str
    trial: str


WANTED = (
    Tool("cosign2", "cosign", "trixie", "2.", "usr/bin/cosign", "version"),
    Tool("cosign3", "cosign", "sid", "3.", "usr/bin/cosign", "version"),
    Tool("age", "age", "trixie", "1.", "usr/bin/age", "--version"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """One package source of this machine: where it is, what it offers, and apt's options for it."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: tuple[tuple[str, str], ...]


_OPTION_FIELDS = {"arch": "architectures"}
_OWN_FIELDS = {"types", "uris", "suites", "components", "enabled", "architectures"}


def parse_sources(text: str) -> Iterator[Source]:
    """Sources of a deb822 file (`*.sources`) that offer binary packages and are not switched off."""
    for stanza in "\n".join(line for line in text.splitlines() if not line.startswith("#")).split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace() and name:
                fields[name] += "\n" + line
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") not in {"no", "false"}:
            yield Source(
                uris=tuple(fields.get("uris", "").split()),
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                options=tuple((name, value) for name, value in fields.items() if name not in _OWN_FIELDS),
            )


def parse_list(text: str) -> Iterator[Source]:
    """Sources of a one-line-style file (`sources.list`, `*.list`) that offer binary packages."""
    for line in text.splitlines():
        kind, _, rest = line.split("#", 1)[0].strip().partition(" ")
        options: list[tuple[str, str]] = []
        rest = rest.strip()
        if rest.startswith("["):
            inside, _, rest = rest[1:].partition("]")
            for option in inside.split():
                name, _, value = option.partition("=")
                name = _OPTION_FIELDS.get(name.lower(), name.lower())
                if name not in _OWN_FIELDS:
                    options.append((name, value.replace(",", " ")))
        words = rest.split()
        if kind == "deb" and len(words) >= 3:
            yield Source((words[0],), (words[1],), tuple(words[2:]), tuple(options))


def configured_sources(etc: Path) -> Iterator[Source]:
    """All sources of an apt configuration directory."""
    for path in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))):
        if path.suffix == ".sources" and path.is_file():
            yield from parse_sources(path.read_text(encoding="utf-8"))
        elif path.suffix == ".list" and path.is_file():
            yield from parse_list(path.read_text(encoding="utf-8"))


def debian_source(etc: Path, release: str) -> Source:
    """The source from which this machine gets Debian itself.

    Args:
        etc: apt's configuration directory.
        release: text of `/etc/os-release`.

    Raises:
        Unavailable: this is no Debian, or none of the sources is Debian's main archive.
    """
    facts = dict(line.replace('"', "").split("=", 1) for line in release.splitlines() if "=" in line)
    if facts.get("ID") != "debian":
        raise Unavailable("this machine does not run Debian")
    own = {facts.get("VERSION_CODENAME", ""), "oldstable", "stable", "testing", "unstable"} - {""}
    for source in configured_sources(etc):
        if own.intersection(source.suites) and "main" in source.components and source.uris:
            return source
    raise Unavailable(f"no source under {etc} offers Debian's main archive")


def source_file(source: Source, suites: list[str]) -> str:
    """A deb822 file that offers other suites of the same archive."""
    fields = [
        ("Types", "deb"),
        ("URIs", " ".join(source.uris)),
        ("Suites", " ".join(suites)),
        ("Components", "main"),
    ]
    return "".join(f"{name}: {value}\n" for name, value in (*fields, *source.options))


def run(command: list[str], *, cwd: Path, seconds: int) -> str:
    """Output of a command.

    Raises:
        Unavailable: it cannot be started, fails, or takes too long.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(str(error)) from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{command[0]}: {lines[-1] if lines else f'exit {done.returncode}'}")
    return done.stdout + done.stderr


class Apt:
    """apt-get with lists and cache in a directory of our own."""

    def __init__(self, directory: Path, source: Source, suites: list[str]) -> None:
        self._directory = directory
        for name in ("lists/partial", "cache/archives/partial", "download"):
            (directory / name).mkdir(parents=True)
        (directory / "own.sources").write_text(source_file(source, suites), encoding="utf-8")
        settings = {
            "Dir::Etc::SourceList": directory / "own.sources",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": directory / "lists",
            "Dir::Cache": directory / "cache",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "20",
            "Acquire::https::Timeout": "20",
            "APT::Sandbox::User": "root",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        self._command = ["apt-get", "--quiet", *options]
        run([*self._command, "--error-on=any", "update"], cwd=directory, seconds=180)

    def unpack(self, tool: Tool, target: Path) -> None:
        """Download the tool's package, take the program out of it, try it, and put it at `target`."""
        download = self._directory / "download" / tool.name
        download.mkdir()
        run([*self._command, "download", f"{tool.package}/{tool.suite}"], cwd=download, seconds=300)
        packages = list(download.glob("*.deb"))
        if len(packages) != 1:
            raise Unavailable(f"apt-get left {len(packages)} packages")
        version = run(["dpkg-deb", "-f", packages[0].name, "Version"], cwd=download, seconds=60).strip()
        if not version.startswith(tool.generation):
            raise Unavailable(f"Debian {tool.suite} has {tool.package} {version}, not {tool.generation}x")
        run(["dpkg", "-x", packages[0].name, "tree"], cwd=download, seconds=60)
        program = download / "tree" / tool.member
        run([str(program), tool.trial], cwd=download, seconds=30)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(program, target)


def fetch(wanted: list[Tool], bin_directory: Path) -> dict[str, str]:
    """Fetch tools into a directory; answers the reason for each one that cannot be had."""
    missing: dict[str, str] = {}
    try:
        source = debian_source(Path("/etc/apt"), Path("/etc/os-release").read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory(dir=bin_directory.parent, prefix="apt-") as directory:
            apt = Apt(Path(directory), source, sorted({tool.suite for tool in wanted}))
            for tool in wanted:
                try:
                    apt.unpack(tool, bin_directory / tool.name)
                except Unavailable as reason:
                    missing[tool.name] = str(reason)
    except (Unavailable, OSError) as reason:
        missing = {tool.name: str(reason) for tool in wanted}
    return missing


def main() -> int:
    """Fetch what is not there yet; never an error, since only tests need these programs."""
    os.umask(0o022)
    TOOLS.mkdir(exist_ok=True)
    wanted = [tool for tool in WANTED if not (TOOLS / "bin" / tool.name).exists()]
    missing: dict[str, str] = {}
    if wanted:
        print(f"tools: fetching {', '.join(tool.name for tool in wanted)} into .tools/bin")
        missing = fetch(wanted, TOOLS / "bin")
    reasons = "".join(f"{name}: {reason}\n" for name, reason in missing.items())
    (TOOLS / "missing.txt").write_text(reasons, encoding="utf-8")
    for name, reason in missing.items():
        print(f"tools: {name} cannot be had: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
