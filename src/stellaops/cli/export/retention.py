"""`stella export retention`, and pins of runs: what goes, what stays, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from stellaops.cli.export.printing import second
from stellaops.cli.frame import App, StellaCommand, StellaGroup, pass_app
from stellaops.core.counting import counted
from stellaops.core.errors import DependencyFailed

Wire = Mapping[str, Any]

HOLD = click.option(
    "--legal-hold", is_flag=True, help="A legal hold: beside pins, and taken away by this option alone."
)


class RetentionIncomplete(DependencyFailed):
    """A pass of retention could not remove everything that it was to remove; the next one goes on."""

    code = "ERR_EXPORT_RETENTION_INCOMPLETE"
    hint = "Set right what the message names; the next pass, or the same command again, goes on from there."


@click.group(cls=StellaGroup)
def retention() -> None:
    """How long bundles are kept, and what goes."""


@retention.command("run")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--every-tenant", is_flag=True, help="The bundles of all tenants, as the nightly pass does.")
@pass_app
def retention_run(app: App, *, dry_run: bool, every_tenant: bool) -> None:
    r"""Remove bundles that no rule keeps, what killed runs left behind, and evidence that no run needs.

    \b
      stella export retention run --dry-run
      stella export retention run --every-tenant

    Workers do the same every night. The newest full bundle and the last five deltas of each profile always stay, with
    all that they build on; so do pinned runs, runs under a legal hold, and what a target names its latest. Ends with
    code 10 where something could not be removed.
    """
    with app.out.progress("retention"):
        found = app.center.retention.run(dry_run=dry_run, every_tenant=every_tenant)
    _print_expired(app, found)
    _tell(app, found)
    if found["failures"]:
        raise RetentionIncomplete("; ".join(found["failures"]), details=found["failures"])


def _print_expired(app: App, found: Wire) -> None:
    rows = [(each["profile"], each["runId"], each["exportId"], each["why"]) for each in found["expired"]]
    if rows or app.out.form != "table":
        app.out.rows(found, ("profile", "run", "export", "goes because it is"), rows)


def _tell(app: App, found: Wire) -> None:
    verb = "would be removed" if found["dryRun"] else "removed"
    archives = len(found["archives"])
    if archives:
        app.out.note(f"{counted(archives, 'archive')} of {found['bytes']:,} bytes {verb}")
    elif not found["expired"] and not found["targets"]:
        app.out.note("nothing goes")
    for each in found["targets"]:
        state = verb if each["removed"] else f"stays: {each['detail']}"
        app.out.note(f"target {each['target']}: bundle of run {each['runId']} {state}")
    evidence = found["evidence"]
    if evidence is not None and evidence["floor"]:
        documents = counted(evidence["documents"], "document")
        app.out.note(f"the evidence reaches back to {evidence['floor']}; {documents} {verb}")


@retention.command("show")
@click.option("--runs", is_flag=True, help="Each run with its reason, in place of the rules.")
@pass_app
def retention_show(app: App, *, runs: bool) -> None:
    """Show how long bundles of each profile are kept, or why each run stays or goes at the next pass."""
    found = app.center.retention.show()
    if runs:
        app.out.rows(found, ("profile", "run", "ended", "next pass", "because it is"), _judged(found))
    else:
        names = ("profile", "kind", "mode", "value", "from", "bundles")
        app.out.rows(found, names, [[each[name] for name in names] for each in found["rules"]])
    for each in found["pins"]:
        app.out.note(f"run {each['runId']}: {each['kind']} by {each['by']}: {each['reason']}")
    last = found["last"]
    when = "never" if last is None else second(last["succeededAt"]) or "never"
    going = counted(len(found["goes"]), "run")
    app.out.note(f"last pass that did everything: {when}; {going} to go at the next one")


def _judged(found: Wire) -> Sequence[Sequence[object]]:
    told = [(each, "goes") for each in found["goes"]] + [(each, "stays") for each in found["stays"]]
    return [
        (each["profile"], each["runId"], second(each["finishedAt"]), state, each["why"])
        for each, state in sorted(told, key=lambda pair: str(pair[0]["finishedAt"]), reverse=True)
    ]


@click.command(cls=StellaCommand)
@click.argument("run_id", metavar="RUN")
@click.option("--reason", required=True, help="Why it is to stay.")
@HOLD
@pass_app
def pin(app: App, run_id: str, reason: str, *, legal_hold: bool) -> None:
    """Let a run's bundle stay, whatever its age, with all that it builds on; it cannot be deleted either."""
    app.out.value(app.center.retention.pin(run_id, reason, legal_hold=legal_hold))


@click.command(cls=StellaCommand)
@click.argument("run_id", metavar="RUN")
@click.option("--reason", required=True, help="Why it need not stay any more; kept in the audit log.")
@HOLD
@pass_app
def unpin(app: App, run_id: str, reason: str, *, legal_hold: bool) -> None:
    """Leave a run's bundle to the rules of its profile again."""
    app.out.value(app.center.retention.unpin(run_id, reason, legal_hold=legal_hold))
