"""Results on standard output, as a table, JSON or YAML; progress and notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import yaml
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

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
            click.echo(json.dumps(wire, indent=2, ensure_ascii=False, default=str))
        elif self.form == "yaml":
            click.echo(yaml.safe_dump(wire, sort_keys=False, allow_unicode=True), nl=False)
        else:
            pairs = list(table if table is not None else wire.items())
            width = max((len(str(name)) for name, _ in pairs), default=0)
            for name, item in pairs:
                self._console.print(
                    Text(str(name).ljust(width), style=self._heading), Text(_cell(item)), sep="  "
                )

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
            self._console.print(Text("  ".join(padded).rstrip(), style=style))

    def note(self, text: str) -> None:
        """A line for people, on standard error."""
        if not self._quiet and self.form == "table":
            self._errors.print(Text(text))

    def line(self, text: str) -> None:
        """A line of the result, in table form only."""
        if self.form == "table":
            self._console.print(Text(text))

    @contextmanager
    def progress(self, what: str) -> Iterator[_Steps]:
        """A spinner with the time while something runs; nothing where nobody looks."""
        if self._quiet or not sys.stderr.isatty():
            yield _Steps(None, what)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
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
            self._progress.update(self._task, description=f"{self._what}: {step}")


def _cell(item: Any) -> str:
    if item is None:
        return "-"
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, list | tuple):
        return ", ".join(map(str, item)) or "-"
    return str(item)
