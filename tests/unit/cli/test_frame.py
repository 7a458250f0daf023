"""The frame of the command line: options, formats, errors, help, completion, settings."""

from __future__ import annotations

import itertools
import json
import os
import pty
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from stellaops.adapters.settings import load as settings
from stellaops.adapters.settings.load import InvalidSettings
from stellaops.cli.main import stella as root_command
from stellaops.core import errors
from stellaops.core.exit_codes import exit_code
from tests.unit.cli.running import PROCESS, Stella, call, environment, osv, package, spawn, until

PROFILES = ["json:policy", "json:raw", "mirror:delta", "mirror:full", "trivy:db", "trivy:java-db"]


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("STELLA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    return Stella(tmp_path / "data")


def all_commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    context = click.Context(root_command)

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        found.append(path)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                walk(child, (*path, name))

    walk(root_command, ())
    return found


def command_at(path: tuple[str, ...]) -> click.Command:
    command: click.Command = root_command
    for name in path:
        assert isinstance(command, click.Group)
        below = command.get_command(click.Context(command), name)
        assert below is not None
        command = below
    return command


# ---- help


def test_the_help_of_the_root_tells_what_the_help_of_each_command_begins_with() -> None:
    context = click.Context(root_command)
    loaded = [command_at((name,)) for name in root_command.list_commands(context)]
    told, shown = click.HelpFormatter(), click.HelpFormatter()
    click.Group(commands=loaded).format_commands(context, told)
    root_command.format_commands(context, shown)
    assert "mirror" in told.getvalue()
    assert shown.getvalue() == told.getvalue()


def test_a_command_loads_the_modules_of_no_other() -> None:
    program = (
        "import sys; from stellaops.cli.start import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )

    def loaded(*words: str) -> set[str]:
        done = subprocess.run([PROCESS[0], "-c", program, *words], capture_output=True, text=True, check=True)
        return set(done.stderr.split())

    assert not {"stellaops.bootstrap", "sqlalchemy"} & loaded("--help")
    assert "stellaops.cli.concelier" in (found := loaded("concelier", "--help"))
    assert not {"stellaops.cli.mirror", "stellaops.cli.authority"} & found


@pytest.mark.parametrize("path", all_commands(), ids=" ".join)
def test_help_of_every_command_teaches(path: tuple[str, ...]) -> None:
    answer = call(*path, "--help")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].startswith(f"Usage: {' '.join(('stella', *path))} ")
    assert len((command_at(path).help or "").split()) >= 3
    assert "Global options:" in answer.out
    assert "--data-dir DIR" in answer.out
    for parameter in command_at(path).params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.opts[0] in answer.out


@pytest.mark.parametrize("path", all_commands(), ids=" ".join)
def test_every_option_of_a_command_says_what_it_is_for(path: tuple[str, ...]) -> None:
    untold = [
        parameter.opts[0]
        for parameter in command_at(path).params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert untold == []


def test_no_arguments_show_help_and_version_says_one_line() -> None:
    answer = call()
    assert (answer.code, answer.out) == (2, "")
    assert "A first export:" in answer.err
    assert call("--version").out.startswith("stella, version ")


def test_every_exit_code_is_listed() -> None:
    listed = {row["code"]: row["meaning"] for row in call("exit-codes", "--format", "json").value}
    assert set(listed) == {0, 1, 2, 3, 4, 5, 6, 10, 130}


@pytest.mark.parametrize(
    ("category", "code"),
    [
        (errors.InvalidInput, 2), (errors.NotPermitted, 3), (errors.NotFound, 4), (errors.MissingPrerequisite, 5),
        (errors.NotTrusted, 6), (errors.QuotaExceeded, 10), (errors.DependencyFailed, 10), (errors.StellaError, 1),
    ],
)  # fmt: skip
def test_the_category_of_an_error_decides_the_exit_code(
    category: type[errors.StellaError], code: int
) -> None:
    assert exit_code(category("something")) == code


# ---- global options


def test_global_options_are_taken_anywhere_on_the_line(tmp_path: Path) -> None:
    words = ("export", "profile", "list")
    options = ("--data-dir", str(tmp_path / "data"), "--tenant", "acme", "--format", "yaml", "-q")
    expected = None
    for place in range(len(words) + 1):
        answer = call(*words[:place], *options, *words[place:])
        assert (answer.code, answer.err) == (0, "")
        assert [each["metadata"]["tenant"] for each in yaml.safe_load(answer.out)] == ["acme"] * len(PROFILES)
        assert answer.out == (expected := expected or answer.out)


def test_the_innermost_of_two_equal_options_wins(tmp_path: Path) -> None:
    answer = call(
        "--format", "yaml", "--data-dir", str(tmp_path), "export", "profile", "list", "--format", "json"
    )
    assert len(answer.value) == len(PROFILES)


def test_json_yaml_and_table_say_the_same(stella: Stella) -> None:
    as_json = stella.ask("export", "profile", "show", "json:raw", "--format", "json").value
    assert (
        yaml.safe_load(stella.ask("export", "profile", "show", "json:raw", "--format", "yaml").out) == as_json
    )
    table = stella.ask("export", "profile", "list", "--format", "table").out.splitlines()
    assert table[0].split() == ["name", "kind", "revision", "selectors"]
    assert [line.split()[0] for line in table[1:]] == PROFILES


def test_what_is_piped_is_json_without_being_asked(tmp_path: Path) -> None:
    answer = spawn("--data-dir", str(tmp_path), "export", "profile", "list")
    assert [profile["metadata"]["name"] for profile in answer.value] == PROFILES


def on_a_terminal(*arguments: str, **variables: str) -> bytes:
    control, terminal = pty.openpty()
    with subprocess.Popen(
        [*PROCESS, *arguments],
        env=environment(TERM="xterm-256color", COLUMNS="200", **variables),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        said = b""
        while True:
            try:
                chunk = os.read(control, 65536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            said += chunk
    os.close(control)
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize(
    ("options", "variables", "coloured"),
    [
        ((), {}, True),
        (("--no-color",), {}, False),
        ((), {"NO_COLOR": "1"}, False),
        ((), {"NO_COLOR": ""}, True),
    ],
)
def test_a_terminal_gets_a_table_with_colours_unless_they_are_not_wanted(
    options: tuple[str, ...], variables: dict[str, str], coloured: bool, tmp_path: Path
) -> None:
    said = on_a_terminal("--data-dir", str(tmp_path), *options, "export", "profile", "list", **variables)
    assert b"revision" in said
    assert b"{" not in said
    assert (b"\x1b[3" in said or b"\x1b[1m" in said) is coloured


def test_results_come_after_the_spinner_is_gone(stella: Stella, tmp_path: Path) -> None:
    stella.take(tmp_path / "in", "ghsa", osv("GHSA-2222-2222-2222", package("PyPI", "p", *until("1.0"))))
    stella.submit("json:raw")
    stella("mirror", "init", "primary")
    download = ("export", "download", "latest")
    for words, result in (
        ((*download, "--to", str(tmp_path / "to")), str(tmp_path / "to")),
        ((*download, "--tar", str(tmp_path / "run.tar")), str(tmp_path / "run.tar")),
        (("mirror", "publish"), "concelier  primary"),
    ):
        said = on_a_terminal("--data-dir", str(stella.data_dir), *words)
        assert b"\x1b[?25l" in said, "there was no spinner"
        assert result.encode() in said.rpartition(b"\x1b[?25h")[2], said


# ---- errors


def test_an_error_is_two_lines_on_standard_error_and_nothing_on_standard_output(stella: Stella) -> None:
    answer = stella.ask("export", "run", "show", "run-nowhere")
    assert (answer.code, answer.out) == (4, "")
    first, second = answer.err.splitlines()
    assert first == "error ERR_EXPORT_RUN_NOT_FOUND: tenant default has no run 'run-nowhere'"
    assert second.startswith("→ ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("export", "frobnicate"), "frobnicate"),
        (("export", "run", "submit"), "--profile"),
        (("--format", "xml", "config", "show"), "xml"),
        (("export", "run", "submit", "--profile", "x", "--snapshot", "many"), "many"),
        (("export", "profile", "create", "/nonexistent/file"), "/nonexistent/file"),
        (("completion", "tcsh"), "tcsh"),
        (("export", "verify", "--no-such-option"), "--no-such-option"),
    ],
)
def test_a_wrong_command_line_is_an_error_like_any_other(
    arguments: tuple[str, ...], said: str, stella: Stella
) -> None:
    error = stella.refused(2, "ERR_USAGE", *arguments)
    assert said in error.splitlines()[0]
    assert "--help" in error.splitlines()[-1]


def test_trace_shows_where_an_error_came_from(stella: Stella) -> None:
    answer = stella.ask("export", "run", "show", "run-nowhere", "--trace")
    assert answer.code == 4
    assert "Traceback" in answer.err
    assert "find_run" in answer.err


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = f"'{PROCESS[0]}' -c '{PROCESS[2]}' --data-dir '{tmp_path}' export profile list"
    line = f"{command} | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 141)
    assert "Traceback" not in done.stderr


# ---- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell_calls_stella_back(shell: str) -> None:
    answer = call("completion", shell)
    assert answer.code == 0
    assert f"_STELLA_COMPLETE={shell}_complete" in answer.out


def test_completion_knows_commands_and_options() -> None:
    def complete(*words: str) -> str:
        variables = {
            "_STELLA_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1),
        }  # fmt: skip
        return spawn(variables=variables).out

    assert {line.partition(",")[2] for line in complete("stella", "").splitlines()} >= {"export", "concelier"}
    assert "submit" in complete("stella", "export", "run", "s")
    assert "--profile" in complete("stella", "export", "run", "submit", "--p")


# ---- settings


def test_each_setting_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("tenant: from-file\ntrivy: /opt/trivy\n", encoding="utf-8")
    monkeypatch.setenv("STELLA_CONFIG", str(file))
    monkeypatch.setenv("STELLA_TENANT", "from-environment")
    shown = call("--data-dir", str(tmp_path / "here"), "config", "show").value["settings"]
    assert shown["tenant"] == {"value": "from-environment", "origin": "STELLA_TENANT"}
    assert shown["trivy"] == {"value": "/opt/trivy", "origin": str(file)}
    assert shown["dataDir"] == {"value": str(tmp_path / "here"), "origin": "command line"}
    assert shown["keyPassphraseFile"] == {"value": None, "origin": "default"}
    assert call("--tenant", "flag", "config", "show").value["settings"]["tenant"]["value"] == "flag"


def test_a_setting_that_nearly_has_a_name_is_an_error_that_says_which_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("tennant: a\ndatadir: b\nentirelyElse: c\ntrivy: [1]\n", encoding="utf-8")
    monkeypatch.setenv("STELLA_CONFIG", str(file))
    answer = call("config", "check")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines()[0] == f"error ERR_CONFIG_INVALID: {file}: 4 things are wrong"
    for part in (
        "is tenant meant?",
        "is dataDir meant?",
        "entirelyElse: not a setting; `stella config show` lists",
        "trivy: a text",
    ):
        assert part in answer.err
    with pytest.raises(InvalidSettings) as caught:
        settings.load({}, {"STELLA_CONFIG": str(file)})
    assert len(caught.value.details) == 4


def test_sound_settings_are_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = tmp_path / "absent.yaml"
    monkeypatch.setenv("STELLA_CONFIG", str(absent))
    monkeypatch.setenv("STELLA_WORKER_SLOTS", "4")
    told = call("config", "check", "--format", "json").value
    assert (told["verdict"], told["file"], told["fileRead"]) == ("ok", str(absent), False)
    assert "worker.slots" in told["given"]
    assert "(there is none)" in call("config", "check", "--format", "table").out


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "STELLA_WORKER_SLOTS",
            "many",
            "worker.slots (STELLA_WORKER_SLOTS): a whole number above zero is needed",
        ),
        (
            "STELLA_WORKER_TIME_LIMIT",
            "soon",
            "worker.timeLimit (STELLA_WORKER_TIME_LIMIT): 'soon' is no duration",
        ),
        ("STELLA_CHORES_VERIFY_AT", "25:00", "a time as 02:30 (UTC) or `off` is needed"),
        ("STELLA_API_METRICS_FROM", "10.1.0.1/16", "a network as 10.1.0.0/16 is needed"),
        ("STELLA_ARTEFACTS_STORE", "bundles", "s3://BUCKET/PREFIX is needed"),
        ("STELLA_ARTEFACTS_ENDPOINT", "objects:8333", "an address as https://host is needed"),
        ("STELLA_OFFLINE", "perhaps", "true or false is needed"),
        ("STELLA_LOG_LEVEL", "loud", "one of debug, info, warning, error is needed"),
        (
            "STELLA_KEY_PASSPHRASE_FILE",
            "/nowhere/at/all",
            "keyPassphraseFile (STELLA_KEY_PASSPHRASE_FILE): /nowhere",
        ),
        ("STELLA_TRIVY", "/nowhere/trivy", "no such program"),
        (
            "TARGETS__EDGE__KEYFILE",
            "/nowhere/key",
            "targets.edge.keyFile (TARGETS__EDGE__KEYFILE): /nowhere/key",
        ),
        ("STELLA_STORE_SERVICE", "mysql://db/x", "names no store"),
        ("EXPORTCENTER__RETENTION__JSON__MODE", "weeks", "retention.json.mode: days or count is needed"),
        ("CONCELIER__MIRROR__DOMAINS__0__ID", "NO", "lower-case letters"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_where_it_comes_from(
    variable: str, value: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STELLA_CONFIG", str(tmp_path / "absent.yaml"))
    monkeypatch.setenv("TARGETS__EDGE__DRIVER", "object")
    monkeypatch.setenv("TARGETS__EDGE__STORE", "s3://bundles/{tenant}")
    monkeypatch.setenv("TARGETS__EDGE__REGION", "eu-central-1")
    monkeypatch.setenv(variable, value)
    answer = call("config", "check")
    assert answer.code == 2
    assert told in answer.err
    assert answer.err.startswith("error ERR_CONFIG_INVALID: ")


def test_all_values_that_cannot_be_used_are_told_at_once_and_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STELLA_CONFIG", str(tmp_path / "absent.yaml"))
    monkeypatch.setenv("STELLA_WORKER_SLOTS", "many")
    monkeypatch.setenv("STELLA_LOG_LEVEL", "loud")
    monkeypatch.setenv("STELLA_EGRESS_PROXY", "http://user:secret@[nowhere")
    answer = call("config", "check")
    assert answer.err.splitlines()[0] == "error ERR_CONFIG_INVALID: 3 things are wrong"
    assert all(answer.err.count(name) == 1 for name in ("worker.slots", "log.level", "egress.proxy"))
    assert "secret" not in answer.err


def test_environment_variables_choose_data_directory_and_tenant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STELLA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("STELLA_TENANT", "acme")
    key = call("authority", "key", "create").value
    assert key["tenant"] == "acme"
    assert Path(key["publicKeyFile"]).is_relative_to(tmp_path / "data" / "tenants" / "acme")


# ---- everything that prints, prints one form


def test_every_reading_command_answers_in_all_three_forms(stella: Stella, tmp_path: Path) -> None:
    stella.take(tmp_path / "in", "ghsa", osv("GHSA-aaaa-bbbb-cccc", package("npm", "left", *until("1.2.0"))))
    (tmp_path / "in" / "broken.json").write_text(
        '{"id": "GHSA-dddd-eeee-ffff", "affected": 3}', encoding="utf-8"
    )
    stella("concelier", "import", str(tmp_path / "in"), "--source", "ghsa")
    run = stella.submit("json:raw")
    commands = [
        ("concelier", "status"), ("concelier", "quarantine", "list"), ("concelier", "show", "GHSA-aaaa-bbbb-cccc"),
        ("export", "profile", "list"), ("export", "profile", "history", "json:raw"), ("export", "run", "list"),
        ("export", "run", "show", run["runId"]), ("export", "plan", "--profile", "json:raw"),
        ("export", "verify", "latest"), ("export", "diff", "latest", "latest"), ("authority", "key", "list"),
        ("config", "show"), ("exit-codes",),
    ]  # fmt: skip
    for command, form in itertools.product(commands, ("json", "yaml", "table")):
        answer = stella.ask(*command, "--format", form)
        assert answer.code == 0, (command, answer.err)
        assert answer.out.strip() or command[-1] == "list"
        if form == "json":
            json.loads(answer.out)
        elif form == "yaml":
            yaml.safe_load(answer.out)
        assert "\x1b[" not in answer.out
