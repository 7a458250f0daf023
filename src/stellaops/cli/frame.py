"""What every command shares: the global options, accepted anywhere on the line, and errors with their exit codes."""

from __future__ import annotations

import getpass
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import click

from stellaops.adapters.settings import load as settings
from stellaops.adapters.settings.load import Settings
from stellaops.adapters.telemetry import logs
from stellaops.cli.output import FORMATS, Output, is_of_output, refuse_closed, say, unwritable
from stellaops.client import meant
from stellaops.client.connection import Connection
from stellaops.client.errors import NotOverServer
from stellaops.client.meant import Meant
from stellaops.core.errors import InvalidInput, StellaError
from stellaops.core.exit_codes import INTERRUPTED, exit_code

if TYPE_CHECKING:
    from stellaops.bootstrap import Local
    from stellaops.center.interface import Center


@dataclass
class App:
    """What the global options say; handed to every command."""

    data_dir: str | None = None
    server_flag: str | None = None
    context_flag: str | None = None
    tenant_flag: str | None = None
    format: str | None = None
    trace: bool = False
    no_color: bool = False
    verbose: int = 0
    quiet: bool = False

    @cached_property
    def settings(self) -> Settings:
        """The settings with the command line over them."""
        return settings.load({"dataDir": self.data_dir, "tenant": self.tenant_flag})

    @cached_property
    def home(self) -> Local:
        """The data directory of this machine, also where a server is asked: its keys are trusted, its tools used."""
        from stellaops.bootstrap import Local  # noqa: PLC0415 - most of the program, which help does not need

        return Local(self.settings)

    @property
    def local(self) -> Local:
        """The data directory, for what works on nothing else.

        Raises:
            NotOverServer: a server is meant.
        """
        if self.server is not None:
            command = click.get_current_context().command_path
            raise NotOverServer(f"`{command}` works on a data directory, and {self.server.shown} is meant")
        return self.home

    @cached_property
    def server(self) -> Meant | None:
        """The server that is meant; None for the data directory."""
        if self.server_flag and self.context_flag:
            raise UsageError("--server and --context exclude each other")
        return meant.server(
            self.settings, self.server_flag, self.context_flag, at_home=self.data_dir is not None
        )

    @cached_property
    def connection(self) -> Connection:
        """To the server that is meant.

        Raises:
            NotOverServer: none is.
        """
        if self.server is None:
            command = click.get_current_context().command_path
            raise NotOverServer(
                f"`{command}` asks a server, and none is meant", hint="Name one with --server or --context."
            )
        return meant.connection(self.server, self.settings, self.home.web_settings)

    @cached_property
    def center(self) -> Center:
        """Whom commands ask: the data directory, or the server."""
        if self.server is not None:
            from stellaops.client.remote_exports import RemoteCenter  # noqa: PLC0415 - one of the two is needed

            return RemoteCenter(self.connection)
        from stellaops.center.local_exports import LocalCenter  # noqa: PLC0415 - one of the two is needed

        return LocalCenter(self.home, self.tenant, user())

    @property
    def tenant(self) -> str:
        """The tenant that is meant."""
        return self.settings.tenant

    @cached_property
    def out(self) -> Output:
        """Where results go."""
        return Output(self.format, no_color=self.no_color, quiet=self.quiet)


_SHOWN = 20
"""Details of an error that are shown without being asked for."""
_NAMES = {
    "data_dir": "data_dir", "server": "server_flag", "context": "context_flag", "tenant": "tenant_flag",
    "format": "format", "trace": "trace", "no_color": "no_color", "verbose": "verbose", "quiet": "quiet",
}  # fmt: skip


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    app = context.ensure_object(App)
    if value not in (None, False, 0):
        setattr(app, _NAMES[parameter.name or ""], value)
    return value


def _global_options() -> list[click.Option]:
    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_remember, is_eager=True, **more)

    return [
        option("--data-dir", metavar="DIR", help="The data directory (STELLA_DATA_DIR)."),
        option("--server", metavar="URL", help="Ask this server (STELLA_SERVER); else the data directory."),
        option("--context", metavar="NAME", help="Ask a saved server (STELLA_CONTEXT); `local` for none."),
        option("--tenant", metavar="NAME", help="The tenant (STELLA_TENANT; default: default)."),
        option(
            "--format",
            type=click.Choice(FORMATS),
            help="Form of the result; a table on a terminal, else JSON.",
        ),
        option("--trace", is_flag=True, help="Show the trace of an error."),
        option("--no-color", is_flag=True, help="No colours (also NO_COLOR)."),
        option(
            "-v", "--verbose", count=True, help="Say more: every detail of an error, every warning of a run."
        ),
        option("-q", "--quiet", is_flag=True, help="Say less: no progress, no notes."),
    ]


class _WithGlobalOptions(click.Command):
    """Takes the global options too, and shows them in a section of their own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **_with_verbatim_blocks(kwargs))
        self.own_params = list(self.params)
        self.params = [*self.params, *_global_options()]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own options, the global ones, then the commands of a group."""
        shared = [parameter for parameter in self.get_params(ctx) if parameter not in self.own_params]
        for title, parameters in (("Options", self.own_params), ("Global options", shared)):
            rows = [record for parameter in parameters if (record := parameter.get_help_record(ctx))]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)


class StellaCommand(_WithGlobalOptions):
    """A command that takes the global options too."""


class StellaGroup(_WithGlobalOptions, click.Group):
    """A group whose commands take the global options, as it does itself."""

    command_class = StellaCommand
    group_class = type


def _with_verbatim_blocks(kwargs: dict[str, Any]) -> dict[str, Any]:
    r"""Help is written in raw docstrings, where click's mark of a block that is not re-wrapped is a literal `\b`."""
    if kwargs.get("help"):
        kwargs["help"] = kwargs["help"].replace("\\b\n", "\b\n")
    return kwargs


pass_app = click.make_pass_decorator(App, ensure=True)


def run(command: click.Command, arguments: list[str] | None = None, name: str = "stella") -> NoReturn:
    """Run a command line to its exit code; errors end here and nowhere else."""
    app = App()
    logs.configure_commands(lambda: app.settings.get("log.file"))
    try:
        refuse_closed()
        # Out of standalone mode click returns the code of an early exit instead of raising it.
        stopped = command.main(arguments, prog_name=name, standalone_mode=False, obj=app)
    except StellaError as error:
        sys.exit(_report(error, app))
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        sys.exit(INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        sys.exit(_report(_usage(error), app))
    except BrokenPipeError:
        if sys.stderr is not None:
            sys.stderr.close()
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the last line of defence; the trace is one flag away
        sys.exit(_report(_unexpected(error), app, error))
    sys.exit(stopped if isinstance(stopped, int) else 0)


def _report(error: StellaError, app: App, cause: BaseException | None = None) -> int:
    if app.trace:
        for line in "".join(traceback.format_exception(cause or error)).rstrip().split("\n"):
            say(line)
    say(f"error {error.code}: {_joined(_headline(error))}")
    if len(error.details) > 1:
        shown = error.details if app.verbose else error.details[:_SHOWN]
        for detail in shown:
            say(f"  - {_joined(str(detail))}")
        if len(shown) < len(error.details):
            say(f"  - and {len(error.details) - len(shown)} more: -v shows them")
    say(f"→ {_joined(error.advice)}")
    return exit_code(error)


def _joined(text: str) -> str:
    """A text as one line; click and YAML break theirs into several."""
    return " ".join(filter(None, map(str.strip, text.split("\n"))))


def _headline(error: StellaError) -> str:
    """What happened, in a line: without the details, where they stand below it all the same."""
    told = "; ".join(str(each) for each in error.details)
    if len(error.details) < 2 or not error.what.endswith(told):
        return error.what
    where = error.what.removesuffix(told)
    return f"{where}{len(error.details)} things are wrong"


def user() -> str:
    """Who runs this process, for records."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name for this user id, as in many containers
        return "unknown"


class UsageError(InvalidInput):
    """The command line itself is wrong: an unknown command or option, a value of the wrong form."""

    code = "ERR_USAGE"
    hint = "See `stella --help`."

    def __init__(self, what: str, *, hint: str | None = None, details: Iterable[str] = ()) -> None:
        context = click.get_current_context(silent=True)
        own = None if context is None else f"See `{context.command_path} --help`."
        super().__init__(what, hint=hint or own, details=details)


def _usage(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    hint = f"See `{context.command_path} --help`." if isinstance(context, click.Context) else None
    return UsageError(error.format_message(), hint=hint)


def _unexpected(error: BaseException) -> StellaError:
    if isinstance(error, OSError) and is_of_output(error):
        return unwritable(error)
    return StellaError(f"unexpected {type(error).__name__}: {error}")
