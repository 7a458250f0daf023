"""`stella export`: profiles, runs, bundles."""

from __future__ import annotations

import click

from stellaops.cli.export.bundles import BundleMissing, diff, download, plan, verify
from stellaops.cli.export.downloads import link, token
from stellaops.cli.export.printing import print_report
from stellaops.cli.export.profiles import profile
from stellaops.cli.export.queue import queue, workers
from stellaops.cli.export.retention import pin, retention, unpin
from stellaops.cli.export.runs import run
from stellaops.cli.export.targets import distribute, target
from stellaops.cli.export.upkeep import chores, quotas, target_verify
from stellaops.cli.frame import StellaGroup

__all__ = ["BundleMissing", "export", "print_report"]


@click.group(cls=StellaGroup)
def export() -> None:
    """Cut the evidence into signed, reproducible bundles."""


for command in (
    profile,
    run,
    download,
    verify,
    plan,
    diff,
    distribute,
    target,
    retention,
    queue,
    workers,
    link,
    token,
    quotas,
    chores,
):
    export.add_command(command)
target.add_command(target_verify)
for command in (pin, unpin):
    run.add_command(command)
