"""Bring the programs that tests run as peers into `.tools/bin`, without touching the system.

cosign 2 and 3, and age, come from the next releases of Debian, docker-registry, Prometheus, rsync and others from the
release that this machine runs: with a package list of our own, made from the mirror that the machine is configured
for, then `apt-get download` and `dpkg -x`. No root is needed and nothing is installed. A program that brings libraries
stays with them below `.tools/debian/<program>`, and a small script in `.tools/bin` starts it.
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


OWN_SUITE = "own"
"""Stands for the release that this machine runs: what brings libraries has to fit the ones that are here."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program inside a Debian package.

    Attributes:
        generation: how the package's version begins; empty where any will do.
        trial: arguments with which the program just exits 0.
        libraries: packages whose files the program needs at run time and a small system may lack.
        arguments: put before the caller's; `{tree}` is where the packages were unpacked.
        others: names and members of programs that come with it and need nothing beside themselves.
        shares: it reads its own files below `/usr/share`, and nowhere else.
    """

    name: str
    package: str
    suite: str
    generation: str
    member: str
    trial: str
    libraries: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    shares: bool = False


WANTED = (
    Tool("cosign2", "cosign", "trixie", "2.", "usr/bin/cosign", "version"),
    Tool("cosign3", "cosign", "sid", "3.", "usr/bin/cosign", "version"),
    Tool("age", "age", "trixie", "1.", "usr/bin/age", "--version"),
    Tool("docker-registry", "docker-registry", OWN_SUITE, "2.", "usr/bin/docker-registry", "--version"),
    Tool(
        "skopeo",
        "skopeo",
        OWN_SUITE,
        "1.",
        "usr/bin/skopeo",
        "--version",
        libraries=("libgpgme11", "libassuan0", "libdevmapper1.02.1"),
    ),
    Tool(
        "softhsm2-util",
        "softhsm2",
        OWN_SUITE,
        "2.",
        "usr/bin/softhsm2-util",
        "--version",
        libraries=("libsofthsm2",),
        arguments=("--module", "{tree}/usr/lib/softhsm/libsofthsm2.so"),
    ),
    Tool(
        "rsync",
        "rsync",
        OWN_SUITE,
        "3.",
        "usr/bin/rsync",
        "--version",
        libraries=("liblz4-1", "libpopt0", "libxxhash0"),
    ),
    Tool(
        "nginx-lua",
        "nginx",
        OWN_SUITE,
        "1.",
        "usr/sbin/nginx",
        "-v",
        libraries=(
            "libnginx-mod-http-lua",
            "libnginx-mod-http-ndk",
            "libluajit2-5.1-2",
            "libpcre3",
            "lua-resty-core",
            "lua-resty-lrucache",
        ),
    ),
    Tool(
        "prometheus",
        "prometheus",
        OWN_SUITE,
        "2.",
        "usr/bin/prometheus",
        "--version",
        others=(("promtool", "usr/bin/promtool"),),
    ),
    Tool(
        "alertmanager",
        "prometheus-alertmanager",
        OWN_SUITE,
        "0.",
        "usr/bin/prometheus-alertmanager",
        "--version",
        others=(("amtool", "usr/bin/amtool"),),
        shares=True,
    ),
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


def debian_source(etc: Path, release: str) -> tuple[Source, str]:
    """The source from which this machine gets Debian itself, and the suite that it runs.

    Args:
        etc: apt's configuration directory.
        release: text of `/etc/os-release`.

    Raises:
        Unavailable: this is no Debian, or none of the sources is Debian's main archive.
    """
    facts = dict(line.replace('"', "").split("=", 1) for line in release.splitlines() if "=" in line)
    if facts.get("ID") != "debian":
        raise Unavailable("this machine does not run Debian")
    own = [
        name for name in (facts.get("VERSION_CODENAME"), "oldstable", "stable", "testing", "unstable") if name
    ]
    for source in configured_sources(etc):
        offered = [name for name in own if name in source.suites]
        if offered and "main" in source.components and source.uris:
            return source, offered[0]
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

    def unpack(self, tool: Tool, suite: str, tree: Path) -> None:
        """Download the tool's packages and unpack them at `tree`."""
        download = self._directory / "download" / tool.name
        download.mkdir()
        wanted = [f"{package}/{suite}" for package in (tool.package, *tool.libraries)]
        run([*self._command, "download", *wanted], cwd=download, seconds=300)
        packages = sorted(path.name for path in download.glob("*.deb"))
        if len(packages) != len(wanted):
            raise Unavailable(f"apt-get left {len(packages)} packages instead of {len(wanted)}")
        for package in packages:
            facts = run(
                ["dpkg-deb", "--show", "--showformat", "${Package} ${Version}", package],
                cwd=download,
                seconds=60,
            )
            name, _, version = facts.strip().partition(" ")
            if name == tool.package and not version.split(":")[-1].startswith(tool.generation):
                raise Unavailable(f"Debian {suite} has {name} {version}, not {tool.generation}x")
            run(["dpkg", "-x", package, str(tree)], cwd=download, seconds=60)


def starter(tool: Tool, tree: str) -> str:
    """A script that starts a program among its own libraries.

    Args:
        tree: where the packages were unpacked, as seen from the script's directory.
    """
    arguments = "".join(f' "{word.format(tree="$tree")}"' for word in tool.arguments)
    if tool.shares:
        # In a name space of its own, where /usr/share is the one that came with it; the system's stays as it is.
        return f"""#!/bin/sh
tree=$(dirname "$(readlink -f "$0")")/{tree}
[ "$(id -u)" = 0 ] || root=--map-root-user
exec unshare $root --mount sh -c 'mount --bind "$0/usr/share" /usr/share && exec "$0/{tool.member}" "$@"' \\
    "$tree"{arguments} "$@"
"""
    return f"""#!/bin/sh
tree=$(dirname "$(readlink -f "$0")")/{tree}
for place in "$tree"/usr/lib/*-linux-gnu* "$tree"/lib/*-linux-gnu*; do
    [ -d "$place" ] && LD_LIBRARY_PATH=$place${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
done
export LD_LIBRARY_PATH
[ -d "$tree/usr/share/lua/5.1" ] && export LUA_PATH="$tree/usr/share/lua/5.1/?.lua;;"
exec "$tree/{tool.member}"{arguments} "$@"
"""


def install(tool: Tool, tree: Path, tools: Path) -> None:
    """Put an unpacked program where tests look for it, after it has shown that it runs.

    A program alone is moved to `bin`; one with libraries keeps its tree, and `bin` gets a script.
    """
    target = tools / "bin" / tool.name
    target.parent.mkdir(parents=True, exist_ok=True)
    alone = not tool.libraries and not tool.shares
    for name, member in (*tool.others, *([(tool.name, tool.member)] if alone else ())):
        run([str(tree / member), tool.trial], cwd=tree, seconds=30)
        shutil.move(tree / member, target.with_name(name))
    if alone:
        return
    home = tools / "debian" / tool.name
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(tree, home)
    script = target.with_name(f".{tool.name}.part")
    script.write_text(starter(tool, f"../debian/{tool.name}"), encoding="utf-8")
    script.chmod(0o755)
    run([str(script), tool.trial], cwd=home, seconds=30)
    script.replace(target)


def fetch(wanted: list[Tool], tools: Path) -> dict[str, str]:
    """Fetch programs into a directory of tools; answers the reason for each one that cannot be had."""
    missing: dict[str, str] = {}
    try:
        source, own = debian_source(Path("/etc/apt"), Path("/etc/os-release").read_text(encoding="utf-8"))
        suites = {tool.name: own if tool.suite == OWN_SUITE else tool.suite for tool in wanted}
        with tempfile.TemporaryDirectory(dir=tools, prefix="apt-") as directory:
            apt = Apt(Path(directory), source, sorted(set(suites.values())))
            for tool in wanted:
                tree = Path(directory) / "trees" / tool.name
                tree.mkdir(parents=True)
                try:
                    apt.unpack(tool, suites[tool.name], tree)
                    install(tool, tree, tools)
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
        missing = fetch(wanted, TOOLS)
    reasons = "".join(f"{name}: {reason}\n" for name, reason in missing.items())
    (TOOLS / "missing.txt").write_text(reasons, encoding="utf-8")
    for name, reason in missing.items():
        print(f"tools: {name} cannot be had: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
