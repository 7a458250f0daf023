"""`stella export`: profiles, runs, bundles."""

from __future__ import annotations

import click

from stellaops.cli.export.bundles import BundleMissing, diff, download, plan, verify
from stellaops.cli.export.printing import print_report
from stellaops.cli.export.profiles import profile
from stellaops.cli.export.queue import queue, workers
from stellaops.cli.export.runs import run
from stellaops.cli.frame import StellaGroup

__all__ = ["BundleMissing", "export", "print_report"]


@click.group(cls=StellaGroup)
def export() -> None:
    """Cut the evidence into signed, reproducible bundles."""


for command in (profile, run, download, verify, plan, diff, queue, workers):
    export.add_command(command)
