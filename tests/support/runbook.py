"""Runbook pages as programs: each fenced command is executed in one shell, in the order of the page, or judged.

A page in `docs/operate` marks its fences by their info string:

* `sh`: executed, command by command, in a shell that keeps its variables and its directory over the whole page. A
  command that is meant to fail says so where its reader sees it: `stella export run submit …   # ends with 10`.
* `sh not-executed`: needs a container engine, a cluster or systemd. Judged: the programs must be known, services,
  units and files must be those of `deploy/`, and what is called inside must be a command line that exists.
* anything else (`yaml`, `json`, `text` …): shown, and not a command.

Commands in running text (`` `stella …` ``) are judged too, so that a page names no command or option that is not there.
"""

from __future__ import annotations

import faulthandler
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from stellaops.cli.main import stella as root_command
from stellaops.cli.mirror import mirror as mirror_command
from tests.support.deploy import copy_compose
from tests.support.tools import require

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {"stella": root_command, "mirror": mirror_command}

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`]*)$")
_ENDS_WITH = re.compile(r"#.*\bends with (?P<code>\d+)\s*$")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_CONTROL = ";&|()"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        section: the heading that it stands under, without the marks.
        line: of its first line of text, from 1.
        info: the info string of the fence.
    """

    section: str
    line: int
    info: str
    text: str

    @property
    def is_executed(self) -> bool:
        return self.info.split() in (["sh"], ["bash"])

    @property
    def is_judged(self) -> bool:
        return self.info.split()[1:] == ["not-executed"]

    def commands(self) -> Iterator[Command]:
        """The commands of the block; one may have many lines."""
        gathered: list[str] = []
        begun = self.line
        for number, line in enumerate(self.text.splitlines(), self.line):
            if not gathered:
                begun = number
                if not line.strip() or line.lstrip().startswith("#"):
                    continue
            gathered.append(line)
            if _is_complete("\n".join(gathered)):
                yield _command(self.section, begun, gathered)
                gathered = []
        assert not gathered, f"line {begun}: a command that does not end: {gathered}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page.

    Attributes:
        code: the exit code that the page announces; 0 where it says nothing.
    """

    section: str
    line: int
    text: str
    code: int


def _command(section: str, line: int, lines: Sequence[str]) -> Command:
    told = [found for each in lines if (found := _ENDS_WITH.search(each))]
    return Command(section, line, "\n".join(lines), int(told[-1]["code"]) if told else 0)


def _is_complete(text: str) -> bool:
    if text.endswith("\\"):
        return False
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return done.returncode == 0 and not done.stderr


@dataclass(frozen=True, slots=True)
class Page:
    """A runbook."""

    path: Path
    text: str

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(_blocks(self.text))

    @property
    def sections(self) -> tuple[str, ...]:
        """Headings in order, without those in fenced blocks."""
        return tuple(title for title, _, _ in _lines(self.text) if title is not None)

    def executed(self) -> tuple[Command, ...]:
        return tuple(each for block in self.blocks if block.is_executed for each in block.commands())

    def judged(self) -> tuple[Command, ...]:
        """Commands that the tests do not execute."""
        return tuple(each for block in self.blocks if block.is_judged for each in block.commands())

    def shown(self, language: str) -> tuple[Block, ...]:
        """Blocks of a language, such as `yaml`."""
        return tuple(block for block in self.blocks if block.info.split()[:1] == [language])

    def inline(self) -> Iterator[tuple[int, str]]:
        """`stella …` and `mirror …` in running text and tables, with their lines."""
        for title, number, line in _lines(self.text):
            for code in () if title is not None else _CODE.findall(line):
                if code.split()[0:1] and code.split()[0] in COMMANDS and len(code.split()) > 1:
                    yield number, code

    def links(self) -> Iterator[str]:
        """Relative targets of links."""
        for found in re.findall(r"\]\(([^)\s]+)\)", self.text):
            if not re.match(r"[a-z]+:", found):
                yield found


def read(name: str) -> Page:
    """A page by its name in `docs/operate`."""
    path = ROOT / "docs" / "operate" / name
    return Page(path, path.read_text(encoding="utf-8"))


def _lines(text: str) -> Iterator[tuple[str | None, int, str]]:
    """Lines outside fences: the title where one is a heading, the number, the line."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            yield (line.lstrip("# ") if line.startswith("#") else None), number, line


def _blocks(text: str) -> Iterator[Block]:
    section, info, indent, begun, gathered = "", None, 0, 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and info is None:
            info, indent, begun, gathered = fence["info"].strip(), len(fence["indent"]), number + 1, []
        elif fence and info is not None:
            yield Block(section, begun, info, "\n".join(gathered))
            info = None
        elif info is not None:
            gathered.append(line[indent:] if line[:indent].isspace() else line)
        elif line.startswith("#"):
            section = line.lstrip("# ")
    assert info is None, f"the fence of line {begun} is not closed"


# Executing


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command."""

    command: Command
    code: int
    out: str
    err: str


class Shell:
    """A bash that keeps variables, directory and background jobs between commands."""

    def __init__(self, place: Path, variables: Mapping[str, str]) -> None:
        self._place = place
        self._read, write = os.pipe()
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=place, env=dict(variables), stdin=subprocess.PIPE, pass_fds=[write], start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(write)
        self._back = write
        self._number = 0
        self._send("set -uo pipefail; shopt -s expand_aliases")
        self.outcomes: list[Outcome] = []

    def run(self, command: Command, seconds: float = 300) -> Outcome:
        """Execute a command, whatever comes of it."""
        self._number += 1
        stem = self._place / f".command-{self._number}"
        files = {end: stem.with_suffix(f".{end}") for end in ("sh", "out", "err")}
        files["sh"].write_text(command.text + "\n", encoding="utf-8")
        names = {end: shlex.quote(str(file)) for end, file in files.items()}
        self._send(f". {names['sh']} </dev/null >{names['out']} 2>{names['err']}; echo $? >&{self._back}")
        code = self._answer(seconds)
        out, err = (
            file.read_text(errors="replace") if file.exists() else "" for file in (files["out"], files["err"])
        )
        assert code is not None, (
            f"line {command.line}: no end within {seconds} s: {command.text}\n{out}\n{err}"
        )
        outcome = Outcome(command, code, out, err)
        self.outcomes.append(outcome)
        return outcome

    def value(self, text: str) -> str:
        """What the shell makes of a word, such as `$RUN`."""
        return self.run(Command("", 0, f'printf %s "{text}"', 0)).out

    def _send(self, line: str) -> None:
        assert self._bash.stdin is not None
        with suppress(BrokenPipeError):  # a command that ends the shell is told by the missing answer
            self._bash.stdin.write(f"{line}\n".encode())
            self._bash.stdin.flush()

    def _answer(self, seconds: float) -> int | None:
        ready, _, _ = select.select([self._read], [], [], seconds)
        data = os.read(self._read, 64) if ready else b""
        return int(data) if data.strip() else None

    def close(self) -> None:
        """End the shell and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGTERM)
        try:
            assert self._bash.stdin is not None
            with suppress(BrokenPipeError):
                self._bash.stdin.close()
            self._bash.wait(20)
        except subprocess.TimeoutExpired:
            self._bash.kill()
            self._bash.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)
        os.close(self._read)


@contextmanager
def shell(place: Path, programs: Mapping[str, Path], variables: Mapping[str, str]) -> Iterator[Shell]:
    """A shell for a page: an empty directory, our commands, some programs, and nothing of the caller's settings.

    Args:
        place: a directory of the test; the page's commands begin in `place/desk`.
        programs: further programs under the names that the page calls them by, such as `cosign`.
    """
    bin_dir, desk = place / "bin", place / "desk"
    for directory in (bin_dir, desk, place / "home"):
        directory.mkdir(parents=True, exist_ok=True)
    for name in COMMANDS:
        _write_program(
            bin_dir / name, f"from stellaops.cli.start import main{'_mirror' * (name == 'mirror')} as main"
        )
    for name, program in programs.items():
        (bin_dir / name).symlink_to(program)
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    own = {"PATH": f"{bin_dir}:{os.environ['PATH']}", "HOME": str(place / "home"), "NO_COLOR": "1"}
    found = Shell(desk, kept | own | dict(variables))
    try:
        yield found
    finally:
        found.close()


def _write_program(file: Path, imports: str) -> None:
    file.write_text(f"#!{sys.executable}\n{imports}\nmain()\n", encoding="utf-8")
    file.chmod(0o755)


Hook = Callable[[Shell], Any]


def follow(
    page: Page,
    with_shell: Shell,
    before: Mapping[str, Hook] | None = None,
    after: Mapping[str, Hook] | None = None,
    *,
    only: Callable[[str], bool] = lambda _: True,
) -> Sequence[Outcome]:
    """Do what a page says, section by section; a command that does not end as the page says fails the test.

    Args:
        before, after: called with the shell before the first and after the last command of a section, by its title;
            what the world does to an operator (an outage), and what has to have come of the section.
        only: which sections; all of them by default.
    """  # fmt: skip
    # A page may take longer than a test usually may; each of its commands has a bound of its own.
    faulthandler.cancel_dump_traceback_later()
    hooks_before, hooks_after = dict(before or {}), dict(after or {})
    outcomes: list[Outcome] = []
    blocks = [block for block in page.blocks if only(block.section)]
    for place, block in enumerate(blocks):
        if (begun := hooks_before.pop(block.section, None)) is not None:
            begun(with_shell)
        for command in block.commands() if block.is_executed else ():
            outcome = with_shell.run(command)
            outcomes.append(outcome)
            assert outcome.code == command.code, (
                f"{page.path.name}:{command.line}: {command.text}\n"
                f"ended with {outcome.code}, not {command.code}\n{outcome.out[-4000:]}\n{outcome.err[-4000:]}"
            )
        last = place + 1 == len(blocks) or blocks[place + 1].section != block.section
        if last and (ended := hooks_after.pop(block.section, None)) is not None:
            ended(with_shell)
    left = [*hooks_before, *hooks_after]
    assert not left, f"{page.path.name} has no commands under {left}"
    return outcomes


# Judging


class Unknown(Exception):
    """A command that nobody could execute; the message says why."""


def judge_words(words: Sequence[str]) -> None:
    """Whether `stella …` or `mirror …` is a command line that exists. Arguments may be placeholders, or be left out.

    Raises:
        Unknown: no such command, option or choice, or an argument too many.
    """
    command: click.Command = COMMANDS[words[0]]
    context, rest, path = click.Context(command, info_name=words[0]), list(words[1:]), [words[0]]
    while True:
        left = _parsed(command, context, rest, " ".join(path))
        if not isinstance(command, click.Group):
            if left:
                raise Unknown(f"`{' '.join(path)}` takes no {left[0]!r}")
            return
        if not left:
            return
        found = command.get_command(context, left[0])
        if found is None:
            raise Unknown(f"`{' '.join(path)}` has no command {left[0]!r}")
        path.append(left[0])
        command, context, rest = found, click.Context(found, parent=context, info_name=left[0]), left[1:]


def _parsed(command: click.Command, context: click.Context, words: Sequence[str], shown: str) -> list[str]:
    parser = command.make_parser(context)
    try:
        values, left, _ = parser.parse_args(list(words))
    except click.UsageError as error:
        raise Unknown(f"`{shown}`: {error.format_message()}") from error
    for parameter in command.get_params(context):
        told, kind = values.get(parameter.name or ""), parameter.type
        if isinstance(kind, click.Choice) and isinstance(told, str) and not _is_placeholder(told):
            _demand_choice(kind, told, f"`{shown}`: {parameter.name}")
    return list(left)


def _demand_choice(kind: click.Choice[Any], told: str, shown: str) -> None:
    if told not in kind.choices:
        raise Unknown(f"{shown} is none of {', '.join(map(str, kind.choices))}: {told}")


def _is_placeholder(word: str) -> bool:
    return word.isupper() or "$" in word or word == "…"


def simple_commands(text: str) -> Iterator[list[str]]:
    """The words of each simple command of a line of shell: pipes, lists and assignments taken apart."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars=_CONTROL)
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in lexer:
        if set(word) <= set(_CONTROL):
            if words:
                yield words
            words = []
        elif words or not re.match(r"[A-Za-z_]\w*=", word):
            words.append(word)
    if words:
        yield words


_PLAIN = frozenset(
    {"base64", "cat", "cd", "chmod", "cp", "curl", "cut", "echo", "export", "grep", "htpasswd", "install", "jq", "ls",
     "mkdir", "openssl", "printf", "rm", "sleep", "tar", "test"}
)  # fmt: skip
_WITH_WORKERS = frozenset({"stella-all.service", "stella-worker@.service"})
_UNITS = re.compile(r"^(stella|mirror)[a-z-]*(@[\w%]*)?(\.(service|timer))?$")


def judge(command: Command) -> None:
    """Judge a command that is not executed: its programs, what they name of `deploy/`, commands of ours inside.

    Raises:
        Unknown: something in it is not there.
    """
    for given in simple_commands(command.text):
        words = given[1:] if given[0] == "sudo" else given
        if words[0] in COMMANDS:
            judge_words(words)
        elif words[0] in _JUDGES:
            _JUDGES[words[0]](words)
        elif words[0].startswith(("deploy/", "./deploy/")):
            _judge_files(words)
        elif words[0] not in _PLAIN:
            raise Unknown(f"{words[0]!r} is no program that a page may leave unexecuted")


def _judge_inside(words: Sequence[str]) -> None:
    """Commands of ours that run in a container."""
    for place, word in enumerate(words):
        if word in COMMANDS and words[place + 1 : place + 2] and not words[place + 1].startswith("-"):
            judge_words(words[place:])
            return


def _judge_files(words: Sequence[str]) -> None:
    for word in words:
        path = word.removeprefix("./")
        if path.startswith("deploy/") and "$" not in path and not (ROOT / path).exists():
            raise Unknown(f"there is no {path}")


def _judge_docker(words: Sequence[str]) -> None:
    _judge_files([word for word in words if not word.endswith(".env")])
    known = compose_services(tuple(_of_files(words)))
    for name in services(words):
        if name not in known:
            raise Unknown(f"these Compose files have no service {name!r}")
    _judge_inside(words)


def _of_files(words: Sequence[str]) -> Iterator[str]:
    """The options of a `docker compose` line that name files, with their values."""
    for word, value in pairwise(words):
        if word in {"-f", "--file", "--env-file"}:
            yield from (word, value)


_COMPOSE_VERBS = {"exec", "restart", "logs", "stop", "start", "kill", "pull", "up", "run", "ps"}
_WITH_VALUE = {
    "-f",
    "--file",
    "--env-file",
    "--scale",
    "-p",
    "--project-name",
    "--tail",
    "--since",
    "-e",
    "--env",
    "-s",
}


def services(words: Sequence[str]) -> list[str]:
    """The services that a `docker compose` line names."""
    rest = [word for word in words[1:] if word != "compose"]
    verb, found, skip = "", list[str](), False
    for word in rest:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in _WITH_VALUE
        elif not verb:
            verb = word
        elif verb in _COMPOSE_VERBS:
            found.append(word)
            if verb in {"exec", "run"}:
                break
    return found


@cache
def compose_services(options: tuple[str, ...]) -> frozenset[str]:
    """Services that the real Compose finds by the files of a line, where env files are made of the examples.

    Args:
        options: `-f` and `--env-file` with their values, from the root of the project or from `deploy/compose`.

    Raises:
        Unknown: Compose refuses them.
    """
    with TemporaryDirectory() as name:
        files = copy_compose(Path(name) / "deploy")
        from_root = any(word.startswith("deploy/") for word in options)
        command = [str(require("docker-compose")), *options, "--profile", "*", "config", "--services"]
        variables = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        done = subprocess.run(
            command,
            cwd=name if from_root else files,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0 or not done.stdout.strip():  # some releases end with 0 all the same
        raise Unknown(f"Compose refuses {' '.join(options)}: {done.stderr.strip()}")
    return frozenset(done.stdout.split())


_KINDS = re.compile(
    r"^(deploy|deployment|deployments|cronjob|job|service|svc|secret|pvc|hpa|pod|pods)(/(?P<name>.+))?$"
)


def _judge_kubectl(words: Sequence[str]) -> None:
    templates = "\n".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "deploy" / "helm").rglob("*") if file.is_file()
    )
    for word in words[1:]:
        found = _KINDS.match(word)
        name = found["name"] if found else None
        if name and "$" not in name and not _is_placeholder(name) and name not in templates:
            raise Unknown(f"the chart has no {word}")
    _judge_files(words)
    _judge_inside(words)


def _judge_systemd(words: Sequence[str]) -> None:
    for word in words[1:]:
        if "*" in word:
            _judge_pattern(word)
        if not _UNITS.match(word):
            continue
        stem = re.sub(r"@[^.]*", "@", word)
        files = [stem] if "." in stem else [f"{stem}.service", f"{stem}.timer"]
        if not any((ROOT / "deploy" / "systemd" / file).exists() for file in files):
            raise Unknown(f"there is no unit {word}")


def _judge_pattern(pattern: str) -> None:
    """A pattern of units fits some, and all that have workers where it fits one of those: a host runs either."""
    names = {file.name for file in (ROOT / "deploy" / "systemd").glob("*.service")}
    fitting = {name for name in names if fnmatchcase(name.replace("@.", "@1."), f"{pattern}*")}
    if not fitting:
        raise Unknown(f"no unit is called {pattern}")
    if fitting & _WITH_WORKERS and not fitting >= _WITH_WORKERS:
        raise Unknown(
            f"{pattern} leaves out {', '.join(sorted(_WITH_WORKERS - fitting))}, where workers run too"
        )


def _judge_make(words: Sequence[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for word in words[1:]:
        if "=" not in word and word not in targets:
            raise Unknown(f"the Makefile has no {word!r}")


_JUDGES: Mapping[str, Callable[[Sequence[str]], None]] = {
    "docker": _judge_docker,
    "helm": _judge_files,
    "journalctl": _judge_systemd,
    "kubectl": _judge_kubectl,
    "make": _judge_make,
    "systemctl": _judge_systemd,
}


def table_of_unexecuted(page: Page) -> str:
    """The list of what is not executed, as the page itself has to have it: section, first line, what it needs."""
    rows = ["| section | begins | needs |", "|---|---|---|"]
    for command in page.judged():
        first = command.text.splitlines()[0].removesuffix("\\").split(" #")[0].split(" | ")[0].strip()
        rows.append(f"| {command.section} | `{first}` | {_needs(command)} |")
    return "\n".join(rows)


def _needs(command: Command) -> str:
    names = [words[1] if words[0] == "sudo" else words[0] for words in simple_commands(command.text)]
    found = dict.fromkeys(name for name in names if name not in _PLAIN and name not in COMMANDS)
    return ", ".join(f"`{name}`" for name in found) or "what stands before it"
