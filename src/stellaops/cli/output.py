"""Results on standard output, as a table, JSON or YAML; progress and notes on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import yaml
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

FORMATS = ("table", "json", "yaml")


class Output:
    """Where a command's result goes; standard output carries nothing else."""

    def __init__(self, form: str | None, *, no_color: bool, quiet: bool) -> None:
        plain = no_color or bool(os.environ.get("NO_COLOR"))
        self.form = form or ("table" if sys.stdout.isatty() else "json")
        self._quiet = quiet
        width = None if sys.stdout.isatty() else 250
        self._console = Console(no_color=plain, highlight=False, soft_wrap=width is not None, width=width)
        self._errors = Console(stderr=True, no_color=plain, highlight=False)

    def value(self, wire: Any, table: Sequence[tuple[str, Any]] | None = None) -> None:
        """One result: the wire form for machines, name and value lines for people."""
        if self.form == "json":
            click.echo(json.dumps(wire, indent=2, ensure_ascii=False, default=str))
        elif self.form == "yaml":
            click.echo(yaml.safe_dump(wire, sort_keys=False, allow_unicode=True), nl=False)
        else:
            grid = Table.grid(padding=(0, 2))
            for name, item in table if table is not None else wire.items():
                grid.add_row(Text(str(name), style="bold"), Text(_cell(item)))
            self._console.print(grid)

    def rows(self, wire: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Many results as a table with a header; the wire form for machines."""
        if self.form != "table":
            self.value(wire)
            return
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for number, column in enumerate(columns):
            numeric = bool(rows) and all(isinstance(row[number], int) for row in rows)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(_cell(item)) for item in row))
        self._console.print(table)

    def note(self, text: str) -> None:
        """A line for people, on standard error."""
        if not self._quiet:
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
