"""The harness of the runbooks itself: what it executes, what it judges, and that it can refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import runbook
from tests.support.runbook import Command, Page, Unknown

TEXT = """# A page

## 1. First
```sh
NAME=one
cat > file.txt <<'END'
  kept $NAME
END
false   # the disk is full: ends with 1
```
* in a list:
  ```sh
  test "$(cat file.txt)" = '  kept $NAME' \\
    && cd / && pwd
  ```

## 2. Second
```yaml
stella: nothing
```
```sh not-executed
docker compose exec nobody stella export chores
```
In text `stella export queue status` and `stella export nothing`, `stella` and `cat file`.
"""


def page(tmp_path: Path, text: str = TEXT) -> Page:
    return Page(tmp_path / "page.md", text)


def test_a_page_is_taken_apart_into_commands_with_their_exit_codes(tmp_path: Path) -> None:
    found = page(tmp_path)
    assert [(each.line, each.code, each.text.splitlines()[0]) for each in found.executed()] == [
        (5, 0, "NAME=one"),
        (6, 0, "cat > file.txt <<'END'"),
        (9, 1, "false   # the disk is full: ends with 1"),
        (13, 0, "test \"$(cat file.txt)\" = '  kept $NAME' \\"),
    ]
    assert [each.section for each in found.judged()] == ["2. Second"]
    assert [code for _, code in found.inline()] == ["stella export queue status", "stella export nothing"]
    assert found.sections == ("A page", "1. First", "2. Second")


def test_commands_of_a_page_share_variables_files_and_directory(tmp_path: Path) -> None:
    told: list[str] = []
    with runbook.shell(tmp_path, {}, {"GIVEN": "yes"}) as shell:
        outcomes = runbook.follow(
            page(tmp_path), shell, {"2. Second": lambda s: told.append(s.value("$GIVEN $NAME"))}
        )
        assert shell.value("$PWD") == "/"
    assert [each.code for each in outcomes] == [0, 0, 1, 0]
    assert outcomes[-1].out == "/\n"
    assert told == ["yes one"]


@pytest.mark.parametrize(
    "text",
    [
        "false",
        "true   # ends with 3",
        "echo $unset_variable",
        "exit 0",
        "no-such-program",
        "true | false | true",
    ],
)
def test_a_command_that_does_not_end_as_the_page_says_fails(tmp_path: Path, text: str) -> None:
    with runbook.shell(tmp_path, {}, {}) as shell, pytest.raises(AssertionError):
        runbook.follow(page(tmp_path, f"## A\n```sh\n{text}\n```\n"), shell)


def test_a_hook_for_a_section_that_is_not_there_fails(tmp_path: Path) -> None:
    with runbook.shell(tmp_path, {}, {}) as shell, pytest.raises(AssertionError, match="3\\. Third"):
        runbook.follow(page(tmp_path), shell, {"3. Third": lambda _: None})


def test_our_own_commands_are_on_the_path_of_a_page(tmp_path: Path) -> None:
    with runbook.shell(tmp_path, {}, {}) as shell:
        assert shell.run(Command("", 1, "stella --version", 0)).out.startswith("stella, version")


@pytest.mark.parametrize(
    "line",
    [
        "stella export run submit --profile mirror:full --wait",
        "stella export run submit --profile PROFILE --priority catch-up",
        "stella authority tenant set TENANT --max-active-runs 0",
        "stella serve",
        "mirror verify PATH",
        "stella --format json export run show RUN",
    ],
)
def test_command_lines_that_exist_are_taken(line: str) -> None:
    runbook.judge_words(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "stella export nothing",
        "stella export run submit --profil x",
        "stella export run submit --priority soon",
        "stella export run show RUN RUN",
        "mirror publish-all",
    ],
)
def test_command_lines_that_do_not_exist_are_refused(line: str) -> None:
    with pytest.raises(Unknown):
        runbook.judge_words(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "docker compose exec nobody stella export chores",
        "kubectl rollout restart deploy/no-such-thing",
        "systemctl restart stella-nothing.service",
        "sudo systemctl restart mirror-nothing",
        "helm upgrade --install mirror deploy/helm/nothing",
        "deploy/tools/nothing.sh",
        "kubectl get pods | frobnicate",
        "cd /srv && stella export nothing",
    ],
)
def test_what_is_not_executed_is_judged_all_the_same(line: str) -> None:
    with pytest.raises(Unknown):
        runbook.judge(Command("", 1, line, 0))


def test_words_of_a_line_are_told_apart() -> None:
    found = runbook.simple_commands("A=1 kubectl logs deploy/x | jq '.a | .b' && cd /y; ls \\\n -l  # so")
    assert list(found) == [["kubectl", "logs", "deploy/x"], ["jq", ".a | .b"], ["cd", "/y"], ["ls", "-l"]]
    words = [
        "docker",
        "compose",
        "--env-file",
        "e",
        "-f",
        "f.yaml",
        "exec",
        "-T",
        "concelier",
        "stella",
        "export",
        "x",
    ]
    assert runbook.services(words) == ["concelier"]
