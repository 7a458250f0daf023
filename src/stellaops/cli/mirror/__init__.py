"""`stella mirror`, and `mirror` by itself: mirrors of all kinds, and what crosses the air gap."""

from __future__ import annotations

import click

from stellaops.cli.frame import StellaGroup
from stellaops.cli.mirror.archives import apply, decrypt, freshness, join, restore, split, verify
from stellaops.cli.mirror.check import check_mirror
from stellaops.cli.mirror.domains import domains, init
from stellaops.cli.mirror.gateway import render_gateway
from stellaops.cli.mirror.publish import publish, status
from stellaops.cli.mirror.sync import sync


@click.group(cls=StellaGroup, context_settings={"help_option_names": ["-h", "--help"]})
def mirror() -> None:
    """Mirrors for many audiences, and archives for air gaps: what arrives is verified without a network or a server."""


for command in (
    verify, apply, restore, decrypt, freshness, split, join,
    init, domains, publish, status, sync, check_mirror, render_gateway,
):  # fmt: skip
    mirror.add_command(command)
