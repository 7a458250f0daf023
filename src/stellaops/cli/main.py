"""The root command and its groups."""

from __future__ import annotations

from importlib import import_module

import click
from click.shell_completion import get_completion_class

from stellaops import __version__
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.core.errors import InvalidInput
from stellaops.core.exit_codes import EXIT_CODES, INTERRUPTED, UNEXPECTED

_GROUPS = {
    "authority": "Who may use the service, and the keys that sign exports.",
    "concelier": "Import advisories and look at what is stored.",
    "config": "Settings and where they come from.",
    "db": "Look at the stores, bring them up to date, copy them to another database.",
    "doctor": "Check an installation on its machine, part by part, and say what to do about what is found.",
    "evidence": "Bills of materials of the tenant, and what they are vulnerable to.",
    "excititor": "Import VEX, look at what is stored, and at what it comes down to.",
    "export": "Cut the evidence into signed, reproducible bundles.",
    "mirror": "Mirrors for many audiences, and archives for air gaps: "
    "what arrives is verified without a network or a server.",
    "notify": "Who is told of what: channels, rules, deliveries.",
    "policy": "Overlays: severity overrides, ignore rules, private advisories, "
    "weights of VEX issuers, allowed sources.",
    "serve": "Serve the API, workers, and mirrors: all of them on one machine, or each part alone.",
    "trivy": "Give a signed database to stock Trivy.",
}
"""Commands by the module that has them, with what their help begins with: a command loads its own module alone."""


class _Root(StellaGroup):
    """The root, which loads a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(ctx), *_GROUPS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name; None where there is none."""
        if cmd_name in _GROUPS and cmd_name not in self.commands:
            self.add_command(getattr(import_module(f"stellaops.cli.{cmd_name}"), cmd_name))
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, none of which is loaded for it."""
        told = [click.Command(name, help=meaning) for name, meaning in _GROUPS.items()]
        click.Group(commands=[*told, *self.commands.values()]).format_commands(ctx, formatter)


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
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


@stella.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_app
def completion(app: App, shell: str) -> None:
    r"""Print the completion script of a shell.

    \b
      eval "$(stella completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise InvalidInput(f"no completion for {shell}")
    app.out.write(kind(stella, {}, "stella", "_STELLA_COMPLETE").source() + "\n")


@stella.command("exit-codes")
@pass_app
def exit_codes(app: App) -> None:
    """List the exit codes that scripts can rely on."""
    meanings: dict[int, str] = {0: "ok", UNEXPECTED: "unexpected"}
    for _, code, meaning in EXIT_CODES:
        meanings[code] = f"{meanings[code]}; {meaning}" if code in meanings else meaning
    rows = [*sorted(meanings.items()), (INTERRUPTED, "interrupted")]
    app.out.rows([{"code": code, "meaning": meaning} for code, meaning in rows], ("code", "meaning"), rows)
