"""What reaches a terminal, and an output that is closed or full."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from stellaops.core import harmless
from tests.unit.cli.running import PROCESS, Stella, environment, osv, package, until

STEERING = "\x1b[31mred\x1b[0m\nforged \x9b1m \x7f \u202eline\u2066"
SHOWN = r"\x1b[31mred\x1b[0m\nforged \x9b1m \x7f \u202eline\u2066"


@pytest.fixture
def stella(tmp_path: Path) -> Stella:
    found = Stella(tmp_path / "data")
    affected = package("npm", "left", *until("1.0.0"))
    found.take(tmp_path / "in", "ghsa", osv("GHSA-aaaa-bbbb-cccc", affected, summary=STEERING))
    return found


def steers(text: str) -> bool:
    return any(harmless.line(each) != each for each in text.split("\n"))


def test_control_characters_are_shown_and_all_else_stays() -> None:
    assert harmless.line(STEERING) == SHOWN
    assert harmless.line("a\tb\rc\u2028\udc80") == r"a\tb\rc\u2028\udc80"
    assert harmless.line("Ärger 漢字 שלום 😀 \\n") == "Ärger 漢字 שלום 😀 \\n"


def test_a_summary_steers_no_terminal_in_any_form(stella: Stella) -> None:
    shown = {
        form: stella.ask("concelier", "show", "GHSA-aaaa-bbbb-cccc", "--format", form).out
        for form in ("table", "json", "yaml")
    }
    assert [form for form, text in shown.items() if steers(text)] == []
    assert SHOWN in next(line for line in shown["table"].splitlines() if line.startswith("summary"))
    for document in (json.loads(shown["json"]), yaml.safe_load(shown["yaml"])):
        assert document[0]["document"]["summary"] == STEERING


def test_names_of_files_steer_no_terminal(stella: Stella, tmp_path: Path) -> None:
    (tmp_path / "in" / f"{STEERING}.json").write_text('{"id": 5}', encoding="utf-8")
    answer = stella.ask("concelier", "import", str(tmp_path / "in"), "--source", "ghsa", "--format", "table")
    listed = stella.ask("concelier", "quarantine", "list", "--format", "table")
    assert SHOWN in listed.out
    assert not any(map(steers, (answer.out, answer.err, listed.out)))
    assert len(listed.out.splitlines()) == 2


@pytest.mark.parametrize("more", [(), ("--trace",)])
def test_an_error_steers_no_terminal(stella: Stella, more: tuple[str, ...]) -> None:
    answer = stella.ask("export", "verify", f"/nowhere/{STEERING}", *more)
    assert answer.code != 0
    assert r"\x1b[31m" in answer.err
    assert not steers(answer.err)


def closing(stella: Stella, redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    line = f'"$@" {redirection}'
    command = ["bash", "-c", line, "bash", *PROCESS, "--data-dir", str(stella.data_dir), *words]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("redirection", "words", "told"),
    [
        (">&-", ("concelier", "status"), "is closed; nothing was done"),
        (">/dev/full", ("concelier", "status", "--format", "json"), "No space left on device"),
        (">/dev/full", ("concelier", "status", "--format", "table"), "No space left on device"),
        (">/dev/full", ("--help",), "No space left on device"),
    ],
)
def test_an_output_that_is_closed_or_full_is_told(
    stella: Stella, redirection: str, words: tuple[str, ...], told: str
) -> None:
    done = closing(stella, redirection, *words)
    assert done.returncode == 5, done
    first, second = done.stderr.splitlines()
    assert first.startswith("error ERR_OUTPUT_UNWRITABLE: ")
    assert told in first
    assert second.startswith("→ ")


def test_nobody_to_tell_is_no_reason_to_fail(stella: Stella) -> None:
    done = closing(stella, "2>&-", "concelier", "status", "--format", "table")
    assert (done.returncode, done.stderr) == (0, "")
    assert "ghsa" in done.stdout


def test_a_data_directory_that_cannot_be_made_is_said_to_be_so() -> None:
    told = Stella(Path("/proc/nope")).refused(5, "ERR_STORE_READ_ONLY", "concelier", "status")
    assert "the directory /proc/nope cannot be made: its file system takes none" in told
