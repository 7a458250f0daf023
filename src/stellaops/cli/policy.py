"""`stella policy`: the tenant's overlays and their snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stellaops.adapters.files.inputs import FileInputs
from stellaops.center.wire import Wire
from stellaops.cli.frame import App, StellaGroup, UsageError, pass_app
from stellaops.cli.importing import print_report
from stellaops.core import timestamps
from stellaops.ingest.apply_policy import check
from stellaops.policy.overlay import BadOverlay


@click.group(cls=StellaGroup)
def policy() -> None:
    """Overlays: severity overrides, ignore rules, private advisories, weights of VEX issuers, allowed sources.

    Rules have ids, reasons and dates of expiry. What counts is a snapshot of them, named by its digest.
    """


_PATHS = click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))


@policy.command("lint")
@_PATHS
@pass_app
def lint_(app: App, *, paths: tuple[Path, ...]) -> None:
    """Check overlays; everything that is wrong is listed."""
    checked = check(FileInputs(paths))
    if checked.problems:
        raise BadOverlay(
            f"{len(checked.problems)} problems; first: {checked.problems[0]}", details=checked.problems
        )
    rules = sum(len(overlay.rules) for overlay in checked.overlays)
    app.out.value({"verdict": "ok", "overlays": [overlay.id for overlay in checked.overlays], "rules": rules})


@policy.command("apply")
@_PATHS
@click.option("--prune", is_flag=True, help="The input is complete: overlays that it lacks are gone.")
@pass_app
def apply_(app: App, *, paths: tuple[Path, ...], prune: bool) -> None:
    r"""Make overlays the tenant's: each replaces the one of its name. With one mistake in any, nothing is applied.

    \b
      stella policy apply policy/ --prune
      stella policy snapshot

    Findings go by snapshots: take one to let the change count.
    """
    print_report(app, app.center.policies.apply(paths, prune=prune))


@policy.command()
@click.option(
    "--at", "at_text", metavar="TIME", help="The instant by which rules have expired; the present one."
)
@click.option("--dry-run", is_flag=True, help="Show what it would hold, and keep nothing.")
@pass_app
def snapshot(app: App, *, at_text: str | None, dry_run: bool) -> None:
    """Take a snapshot of the rules in force. Equal rules give the same snapshot, whenever it is taken."""
    if at_text is not None and timestamps.parse(at_text) is None:
        raise UsageError(f"--at {at_text!r} is no instant such as 2027-01-31T12:00:00Z")
    app.out.value(app.center.policies.snapshot(at=at_text, keep=not dry_run))


@policy.command()
@click.argument("wanted", metavar="[DIGEST|latest]", required=False)
@click.option("--raw", is_flag=True, help="Write the canonical bytes that the digest is of.")
@pass_app
def show(app: App, *, wanted: str | None, raw: bool) -> None:
    """Show the rules of a snapshot; without one, the overlays that are applied and the snapshots that were taken."""
    policies = app.center.policies
    if wanted is None:
        _show_all(app, policies.overview())
    elif raw:
        app.out.write(policies.raw(wanted))
    else:
        wire = policies.show(wanted)
        app.out.rows(wire, ("id", "kind", "expires", "reason"), [_rule_line(rule) for rule in wire["rules"]])


def _show_all(app: App, wire: Wire) -> None:
    rows = [(overlay["name"], *_rule_line(rule)) for overlay in wire["overlays"] for rule in overlay["rules"]]
    app.out.rows(wire, ("overlay", "id", "kind", "expires", "reason"), rows)
    for each in wire["snapshots"]:
        app.out.line(f"snapshot {each['digest']} taken {each['takenAt']}")


def _rule_line(rule: Wire) -> tuple[Any, ...]:
    return rule["id"], rule["kind"], rule.get("expires"), rule["reason"]
