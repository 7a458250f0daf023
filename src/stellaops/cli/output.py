"""Results on standard output, as a table, JSON or YAML; progress and notes on standard error.

Texts of others come through here on their way to a terminal: they never steer it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click
import yaml
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from stellaops.core import harmless
from stellaops.core.errors import OutputUnwritable

FORMATS = ("table", "json", "yaml")


class Output:
    """Where a command's result goes; standard output carries nothing else."""

    def __init__(self, form: str | None, *, no_color: bool, quiet: bool) -> None:
        self.form = form or ("table" if sys.stdout.isatty() else "json")
        self._quiet = quiet
        # NO_COLOR is rich's to honour. Long lines are the terminal's to wrap, so that ids can be copied whole.
        plain = True if no_color else None
        self._console = Console(no_color=plain, highlight=False, soft_wrap=True)
        self._errors = Console(stderr=True, no_color=plain, highlight=False, soft_wrap=True)
        # Bold letters are no colour to rich, but an escape sequence to whoever asks for none.
        self._heading = "" if self._console.no_color else "bold"

    def value(self, wire: Any, table: Sequence[tuple[str, Any]] | None = None) -> None:
        """One result: the wire form for machines, name and value lines for people."""
        if self.form == "json":
            text = json.dumps(wire, indent=2, ensure_ascii=False, default=str)
            self.write(f"{harmless.json_text(text)}\n")
        elif self.form == "yaml":
            self.document(wire)
        else:
            found = table if table is not None else wire.items()
            pairs = [(harmless.line(str(name)), _cell(item)) for name, item in found]
            width = max((len(name) for name, _ in pairs), default=0)
            for name, item in pairs:
                self._print(Text(name.ljust(width), style=self._heading), Text(item))

    def document(self, wire: Any) -> None:
        """One result as YAML, whatever the form."""
        text = yaml.safe_dump(wire, sort_keys=False, allow_unicode=True)
        # YAML lets some characters stand that steer terminals; the same value can be written without them.
        self.write(yaml.safe_dump(wire, sort_keys=False) if harmless.steers(text) else text)

    def write(self, exactly: str | bytes) -> None:
        """Text or bytes of a result that must arrive as they are."""
        with _to_standard_output():
            click.echo(exactly, nl=False)

    def rows(self, wire: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Many results as lines under a header; the wire form for machines."""
        if self.form != "table":
            self.value(wire)
            return
        cells = [[_cell(item) for item in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        numeric = [bool(rows) and all(isinstance(row[n], int) for row in rows) for n in range(len(columns))]
        for line, style in ((columns, self._heading), *((line, "") for line in cells)):
            padded = [
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, numeric, strict=True)
            ]
            self._print(Text("  ".join(padded).rstrip(), style=style))

    def note(self, text: str) -> None:
        """A line for people, on standard error."""
        if not self._quiet and self.form == "table":
            with _to_standard_error():
                self._errors.print(Text(harmless.line(text)))

    def line(self, text: str) -> None:
        """A line of the result, in table form only."""
        if self.form == "table":
            self._print(Text(harmless.line(text)))

    def _print(self, *parts: Text) -> None:
        with _to_standard_output():
            self._console.print(*parts, sep="  ")

    @contextmanager
    def progress(self, what: str) -> Iterator[_Steps]:
        """A spinner with the time while something runs; nothing where nobody looks."""
        what = harmless.line(what)
        if self._quiet or sys.stderr is None or not sys.stderr.isatty():
            yield _Steps(None, what)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=self._errors, transient=True) as progress:
            yield _Steps(progress, what)


class _Steps:
    def __init__(self, progress: Progress | None, what: str) -> None:
        self._progress = progress
        self._what = what
        self._task = progress.add_task(what, total=None) if progress else None

    def show(self, step: str) -> None:
        """Say what is being done now."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=f"{self._what}: {harmless.line(step)}")


def say(text: str) -> None:
    """A line on standard error, whatever the form; nothing where it is closed or full."""
    with _to_standard_error():
        click.echo(harmless.line(text), err=True)


def refuse_closed() -> None:
    """See that there is a standard output: without one, the next file that is opened would be it.

    Raises:
        OutputUnwritable: it is closed.
    """
    if sys.stdout is None:
        hint = "Send it somewhere, to /dev/null if nowhere else (`>/dev/null`), then run the command again."
        raise OutputUnwritable("standard output is closed; nothing was done", hint=hint)


@contextmanager
def _to_standard_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def is_of_output(error: BaseException) -> bool:
    """Whether an error is of writing what click writes by itself: help, the version."""
    echo = click.echo.__code__
    return isinstance(error, OSError) and any(
        frame.f_code is echo for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def unwritable(error: OSError) -> OutputUnwritable:
    """The error of a standard output that failed; what is left of it goes nowhere, so that it fails but once."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return OutputUnwritable(f"the result cannot be written to standard output: {error.strerror or error}")


@contextmanager
def _to_standard_error() -> Iterator[None]:
    """What nobody can be told is no reason for a command to fail."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        return


def _cell(item: Any) -> str:
    return harmless.line(_told(item))


def _told(item: Any) -> str:
    if item is None:
        return "-"
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, list | tuple):
        return ", ".join(map(str, item)) or "-"
    return str(item)
