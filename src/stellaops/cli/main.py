"""The entry point: the root command and its groups."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import click
from click.shell_completion import get_completion_class

from stellaops import __version__
from stellaops.adapters.settings import load as settings
from stellaops.adapters.settings.checking import demand_sound
from stellaops.adapters.settings.retention import retention_grace, retention_rules
from stellaops.adapters.settings.targets import describe_targets
from stellaops.adapters.sql.address import parse_address
from stellaops.cli.authority import authority
from stellaops.cli.concelier import concelier
from stellaops.cli.contexts import context
from stellaops.cli.db import db
from stellaops.cli.deployment import validate_command
from stellaops.cli.doctor import doctor
from stellaops.cli.evidence import evidence
from stellaops.cli.excititor import excititor
from stellaops.cli.export import export
from stellaops.cli.frame import App, StellaGroup, pass_app, run
from stellaops.cli.mirror import mirror
from stellaops.cli.notify import notify
from stellaops.cli.policy import policy
from stellaops.cli.serve import serve
from stellaops.cli.trivy import trivy
from stellaops.core.errors import InvalidInput
from stellaops.core.exit_codes import EXIT_CODES, INTERRUPTED, UNEXPECTED


@click.group(cls=StellaGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(__version__, prog_name="stella")
def stella() -> None:
    r"""Turn advisories into signed, reproducible vulnerability databases and bundles.

    \b
    A first export:
      stella concelier import ./advisories --source ghsa
      stella export run submit --profile trivy:db
      stella export verify latest

    Everything lies in one data directory (--data-dir); no server and no network are needed.
    """


@stella.group(cls=StellaGroup)
def config() -> None:
    """Settings and where they come from."""


config.add_command(context)
config.add_command(validate_command)


@config.command("show")
@pass_app
def config_show(app: App) -> None:
    """Print every setting with its value and origin."""
    told = {name: (variable, meaning) for name, variable, meaning in settings.describe()}
    keys = {name.split(".", 2)[2]: meaning for name, _, meaning in describe_targets()}
    every = app.settings.every()
    wire = {
        "file": str(settings.settings_file()),
        "settings": {name: {"value": value, "origin": origin} for name, value, origin in every},
    }
    rows = [
        (name, value, origin, *told.get(name, ("", keys.get(name.split(".", 2)[-1], ""))))
        for name, value, origin in every
    ]
    app.out.rows(wire, ("setting", "value", "origin", "variable", "meaning"), rows)


@config.command("check")
@pass_app
def config_check(app: App) -> None:
    """Check the settings file and the environment; every problem is listed.

    Names, forms of values, and files that are named; also those of mirror hosts. Whether servers answer is for
    `stella doctor`.
    """
    told = app.settings
    demand_sound(told, *_readers(told))
    file = settings.settings_file()
    given = [name for name, _, origin in told.every() if origin != "default"]
    wire = {"verdict": "ok", "file": str(file), "fileRead": file.is_file(), "given": given}
    app.out.value(
        wire,
        [
            ("verdict", "ok"),
            ("file", f"{file}{'' if file.is_file() else ' (there is none)'}"),
            ("given", ", ".join(given) or "nothing: every setting has its default"),
        ],
    )


def _readers(told: settings.Settings) -> list[Callable[[], object]]:
    """What reads settings that belong together, as the parts that use them do."""
    stores = [value for name in ("evidence", "service") if (value := told.get(f"store.{name}"))]
    return [
        partial(retention_rules, told),
        partial(retention_grace, told),
        settings.load_mirror_host,
        *(partial(parse_address, each) for each in stores),
    ]


@stella.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    r"""Print the completion script of a shell.

    \b
      eval "$(stella completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise InvalidInput(f"no completion for {shell}")
    click.echo(kind(stella, {}, "stella", "_STELLA_COMPLETE").source())


@stella.command("exit-codes")
@pass_app
def exit_codes(app: App) -> None:
    """List the exit codes that scripts can rely on."""
    meanings: dict[int, str] = {0: "ok", UNEXPECTED: "unexpected"}
    for _, code, meaning in EXIT_CODES:
        meanings[code] = f"{meanings[code]}; {meaning}" if code in meanings else meaning
    rows = [*sorted(meanings.items()), (INTERRUPTED, "interrupted")]
    app.out.rows([{"code": code, "meaning": meaning} for code, meaning in rows], ("code", "meaning"), rows)


for group in (
    concelier,
    excititor,
    export,
    mirror,
    trivy,
    notify,
    authority,
    db,
    doctor,
    evidence,
    policy,
    serve,
):
    stella.add_command(group)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; never returns."""
    _prepare()
    run(stella, arguments)


def main_mirror(arguments: list[str] | None = None) -> Any:
    """Run `mirror`, which is `stella mirror`; never returns."""
    _prepare()
    run(mirror, arguments, "mirror")


def _prepare() -> None:
    # Imports and exports make millions of small objects that live for a moment; what is loaded by now stays.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    # Nothing that is made here may be written by others: whoever can exchange a key file can sign.
    os.umask(os.umask(0o022) | 0o022)
