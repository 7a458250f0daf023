"""Options that several commands of `stella export` have."""

from __future__ import annotations

import click

from stellaops.exports.run import Priority

SELECTORS = click.option(
    "--selectors",
    multiple=True,
    metavar="K=V,…",
    help="Narrow the profile's selection, such as ecosystems=PyPI,npm,severityAtLeast=high.",
)
SNAPSHOT = click.option("--snapshot", type=int, metavar="N", help="Cut this sequence instead of the newest.")
POLICY_SNAPSHOT = click.option(
    "--policy-snapshot",
    metavar="D",
    help="The policy to apply, by digest; the newest that was taken if left out.",
)
PROFILE = click.option(
    "--profile", required=True, metavar="NAME", help="The recipe; see `stella export profile list`."
)
PRIORITY = click.option(
    "--priority",
    type=click.Choice([each.value for each in Priority]),
    default=Priority.NORMAL.value,
    show_default=True,
    help="How urgent it is in a server's queue.",
)
WAIT = click.option("--wait", is_flag=True, help="Wait for the end; a local run always does.")
WATCH = click.option("--watch", is_flag=True, help="Wait for the end, and show what happens meanwhile.")
