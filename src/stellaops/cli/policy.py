"""`stella policy`: the tenant's overlays and their snapshots."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from stellaops.adapters.files.inputs import FileInputs
from stellaops.bootstrap import now
from stellaops.cli.frame import App, StellaGroup, UsageError, pass_app
from stellaops.cli.importing import print_report
from stellaops.core import timestamps
from stellaops.findings.policies import find_snapshot, take_snapshot
from stellaops.ingest.apply_policy import apply_policy, check
from stellaops.policy.overlay import BadOverlay, Rule


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
    report = apply_policy(
        app.tenant,
        FileInputs(paths),
        sources=app.local.sources,
        store=app.local.imports,
        now=now,
        prune=prune,
    )
    print_report(app, report)


@policy.command()
@click.option(
    "--at", "at_text", metavar="TIME", help="The instant by which rules have expired; the present one."
)
@click.option("--dry-run", is_flag=True, help="Show what it would hold, and keep nothing.")
@pass_app
def snapshot(app: App, *, at_text: str | None, dry_run: bool) -> None:
    """Take a snapshot of the rules in force. Equal rules give the same snapshot, whenever it is taken."""
    at = _instant(at_text) if at_text else now()
    taken = take_snapshot(app.tenant, app.local.policies, at=at, keep=not dry_run)
    rules = taken.snapshot.rules
    app.out.value(
        {
            "digest": taken.snapshot.digest,
            "at": timestamps.render(at),
            "kept": not dry_run,
            "rules": [rule.id for rule in rules],
            "expired": [rule.id for rule in taken.expired],
        }
    )


def _instant(text: str) -> datetime:
    found = timestamps.parse(text)
    if found is None:
        raise UsageError(f"--at {text!r} is no instant such as 2027-01-31T12:00:00Z")
    return found


@policy.command()
@click.argument("wanted", metavar="[DIGEST|latest]", required=False)
@click.option("--raw", is_flag=True, help="Write the canonical bytes that the digest is of.")
@pass_app
def show(app: App, *, wanted: str | None, raw: bool) -> None:
    """Show the rules of a snapshot; without one, the overlays that are applied and the snapshots that were taken."""
    policies = app.local.policies
    if wanted is None:
        _show_all(app)
        return
    found = find_snapshot(app.tenant, wanted, policies)
    if raw:
        click.echo(found.body, nl=False)
        return
    wire = {"digest": found.digest, **msgspec.to_builtins(found)}
    rows = [_rule_line(rule) for rule in found.rules]
    app.out.rows(wire, ("id", "kind", "expires", "reason"), rows)


def _show_all(app: App) -> None:
    policies = app.local.policies
    overlays, taken = policies.overlays(app.tenant), policies.snapshots(app.tenant)
    wire: dict[str, Any] = {
        "overlays": [
            {
                "name": overlay.id,
                "description": overlay.description,
                "rules": [msgspec.to_builtins(rule) for rule in overlay.rules],
            }
            for overlay in overlays
        ],
        "snapshots": [
            {"digest": each.digest, "takenAt": timestamps.render(each.taken_at), "sequence": each.sequence}
            for each in taken
        ],
    }
    rows = [(overlay.id, *_rule_line(rule)) for overlay in overlays for rule in overlay.rules]
    app.out.rows(wire, ("overlay", "id", "kind", "expires", "reason"), rows)
    for each in taken:
        app.out.line(f"snapshot {each.digest} taken {timestamps.render(each.taken_at)}")


def _rule_line(rule: Rule) -> tuple[str, str, str | None, str]:
    kind = msgspec.to_builtins(rule)["kind"]
    return rule.id, str(kind), rule.expires, rule.reason
