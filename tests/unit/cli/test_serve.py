"""`stella serve`: which part is meant, and what is refused before anything begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from stellaops.cli import serve as serving
from stellaops.cli.frame import App
from stellaops.cli.main import stella
from stellaops.cli.supervising import _answers, _text
from stellaops.core.errors import StellaError


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The parts that would have begun, with their options."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name, command in serving.serve.commands.items():

        def note(name: str = name, **options: Any) -> None:
            found.append((name, options))

        monkeypatch.setattr(command, "callback", note)
    return found


@pytest.mark.parametrize(
    ("line", "part", "port"),
    [
        ("serve", "all", 8080),
        ("serve --port 9000", "all", 9000),
        ("serve all --port 9000", "all", 9000),
        ("serve api --port 9000", "api", 9000),
        ("serve --data-dir all-of-it --port 9000", "all", 9000),
        ("--data-dir x serve --quiet api", "api", 8080),
        ("serve worker", "worker", None),
    ],
)
def test_a_service_without_a_part_is_all_of_it(
    begun: list[tuple[str, dict[str, Any]]], line: str, part: str, port: int | None
) -> None:
    done = CliRunner().invoke(stella, line.split(), obj=App())
    assert done.exit_code == 0, done.output
    ((name, options),) = begun
    assert (name, options.get("port")) == (part, port)


def test_help_is_about_the_group() -> None:
    shown = CliRunner().invoke(stella, ["serve", "--help"], obj=App()).output
    assert all(word in shown for word in ("all", "api", "worker"))


@pytest.mark.parametrize(
    "options", ["--port 70000", "--workers -1", "--slots 0", "--tls-certificate nothing.pem"]
)
def test_options_that_cannot_be_are_refused(options: str) -> None:
    with pytest.raises(click.ClickException):
        stella.main(["serve", *options.split()], standalone_mode=False, obj=App())


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    chain = tmp_path / "tls.crt"
    chain.write_text("x")
    line = ["serve", "--data-dir", str(tmp_path), "--tls-certificate", str(chain)]
    with pytest.raises(StellaError) as raised:
        stella.main(line, standalone_mode=False, obj=App())
    assert raised.value.code == "ERR_TLS_INCOMPLETE"


def test_what_to_do_next_is_said_until_somebody_can_log_in() -> None:
    first = _text("http://127.0.0.1:8080", " --data-dir /srv/stella", first=True)
    assert "stella authority bootstrap --secret-file admin.secret --data-dir /srv/stella" in first
    assert "stella authority login --server http://127.0.0.1:8080" in first
    later = _text("http://127.0.0.1:8080", "", first=False)
    assert "bootstrap" not in later
    assert "http://127.0.0.1:8080/healthz" in later


def test_nothing_answers_where_nobody_listens() -> None:
    from stellaops.api.server import listen  # noqa: PLC0415 - of the extra `server`

    with listen("127.0.0.1", 0) as found:
        port = found.getsockname()[1]
    assert not _answers("127.0.0.1", port)
