"""`stella concelier pull` and `stella concelier sources`: advisories over the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import click

from stellaops.advisories.databases import DATABASES
from stellaops.center.interface import Ingest, PullWanted
from stellaops.center.wire import Wire
from stellaops.cli.frame import App, StellaCommand, StellaGroup, pass_app
from stellaops.client.problems import told
from stellaops.core.errors import InvalidInput
from stellaops.core.exit_codes import exit_code
from stellaops.ingest import manage_sources
from stellaops.ingest.feeds import FEEDS
from stellaops.ingest.layouts.registry import LAYOUTS
from stellaops.ingest.pull_errors import PullFailed

_RETRY = 10


def pull_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments and options that pulls of every side have in common: the fields of `PullWanted`."""
    options = (
        click.argument("names", nargs=-1, metavar="[SOURCE]..."),
        click.option("--all", "every", is_flag=True, help="Every enabled source."),
        click.option("--due", is_flag=True, help="Every enabled source that is due by its schedule."),
        click.option("--full", is_flag=True, help="Fetch everything again, not only what changed."),
        click.option("--now", "at_once", is_flag=True, help="Also sources that rest after failures."),
        click.option("--parallel", type=click.IntRange(1, 64), help="Downloads at once (pull.parallel)."),
    )
    return reduce(lambda decorated, option: option(decorated), reversed(options), command)


@click.command(cls=StellaCommand)
@pull_options
@pass_app
def pull(app: App, /, **given: Any) -> None:
    r"""Fetch what changed at sources, and import it.

    \b
      stella concelier pull osv-pypa osv-ghsa
      stella concelier pull --all --parallel 8

    A pull that was interrupted goes on where it was. A source that fails stops no other: it is named at the end, and
    rests for a while. Exit code 0: all are up to date; 10: some failed and are worth retrying.
    """
    pull_wanted(app, app.center.concelier, PullWanted(**given))


def pull_wanted(app: App, into: Ingest, wanted: PullWanted) -> None:
    """Pull sources and show how each went.

    Raises:
        StellaError: what went wrong, after all were tried.
    """
    with app.out.progress("pulling") as steps:
        wire = into.pull(wanted, steps.show)
    columns = ("source", "state", "fetched", "added", "changed", "vanished", "quarantined", "nextAttemptAt")
    app.out.rows(wire, columns, [[line[name] for name in columns] for line in wire])
    if not wire:
        app.out.note("no source is enabled or due: `stella concelier sources enable NAME`")
    for report in wire:
        for note in report["notes"]:
            app.out.note(f"{report['source']}: {note}")
    _raise_failures(wire)


@click.group(cls=StellaGroup)
def sources() -> None:
    """Where advisories are pulled from, how often, and how that went."""


@sources.command("list")
@click.option("--enabled", is_flag=True, help="Only enabled ones.")
@pass_app
def list_(app: App, *, enabled: bool) -> None:
    """List every defined source with its last and next pull."""
    wire = app.center.concelier.sources(enabled=enabled)
    columns = (
        "source",
        "enabled",
        "layout",
        "every",
        "state",
        "lastSuccessAt",
        "nextPullAt",
        "failures",
        "licence",
    )
    app.out.rows(wire, columns, [[line[name] for name in columns] for line in wire])
    for left in dict.fromkeys(line["untakenAdvice"] for line in wire if line["untakenAdvice"]):
        app.out.note(left)


@sources.command("show")
@click.argument("name")
@pass_app
def show(app: App, name: str) -> None:
    """Show a source's whole definition and the state of its pulls."""
    app.out.value(app.center.concelier.source(name))


@sources.command("add")
@click.argument("name")
@click.option("--url", required=True, help="Where the layout begins.")
@click.option(
    "--layout",
    type=click.Choice(sorted(LAYOUTS)),
    default="http-file",
    show_default=True,
    help="How files are found.",
)
@click.option(
    "--feed", type=click.Choice(sorted(FEEDS)), help="Form of the documents; told from them when left out."
)
@click.option(
    "--database",
    type=click.Choice(sorted(database.name for database in DATABASES)),
    help="The database they belong to; told from their ids when left out.",
)
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="Of the layout; several make a list."
)
@click.option("--host", "hosts", multiple=True, help="A further host that it may be fetched from.")
@click.option("--every", default="", help="Cadence: 6h, 30m, 1d, or a cron line in UTC.")
@click.option("--full-every", default="7d", show_default=True, help="How often everything is fetched again.")
@click.option("--prune", is_flag=True, help="A full pull is complete: what it lacks has vanished.")
@click.option("--licence", default="NOASSERTION", help="SPDX expression.")
@click.option("--attribution", default="", help="The words that the licence asks for.")
@click.option(
    "--auth",
    "kind",
    type=click.Choice(manage_sources.KINDS_OF_CREDENTIALS),
    help="How the file of --auth-file is meant.",
)
@click.option(
    "--auth-file", type=click.Path(path_type=Path), help="File with the credentials, read at each pull."
)
@click.option(
    "--openpgp-key",
    "openpgp_keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File with a public key of a CSAF publisher: documents without a signature by it go to quarantine.",
)
@click.option("--disabled", is_flag=True, help="Define it without enabling it.")
@click.option("--replace", is_flag=True, help="Change a definition that exists.")
@pass_app
def add(app: App, /, name: str, **given: Any) -> None:
    r"""Define a source.

    \b
      stella concelier sources add kev --url https://example.org/kev.json --every 6h
      stella concelier sources add mirror --layout osv-bucket --url https://osv.example.org/ --option ecosystems=PyPI

    What each layout takes is in docs/use/pull.md. Credentials stay in their file and are stored nowhere else.
    """
    app.out.value(app.center.concelier.define(name, _definition(given), replace=given["replace"]))


@sources.command("enable")
@click.argument("names", nargs=-1, required=True)
@pass_app
def enable(app: App, names: tuple[str, ...]) -> None:
    """Have sources pulled by --all and by their schedules."""
    _switch(app, names, enabled=True)


@sources.command("disable")
@click.argument("names", nargs=-1, required=True)
@pass_app
def disable(app: App, names: tuple[str, ...]) -> None:
    """Leave sources out of --all and of schedules; what they imported stays."""
    _switch(app, names, enabled=False)


@sources.command("remove")
@click.argument("name")
@pass_app
def remove(app: App, name: str) -> None:
    """Forget a definition that was added or changed; what was imported stays."""
    app.out.value(app.center.concelier.forget(name))


def _switch(app: App, names: tuple[str, ...], *, enabled: bool) -> None:
    wire = app.center.concelier.switch(names, enabled=enabled)
    app.out.rows(
        wire,
        ("source", "enabled", "every"),
        [(each["source"], each["enabled"], each["every"]) for each in wire],
    )


def _definition(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `ingest.pull_model.Definition`."""
    kind, file = given["kind"], given["auth_file"]
    if (kind is None) != (file is None):
        raise InvalidInput("--auth and --auth-file belong together", hint="Give both, or neither.")
    plain = ("layout", "url", "licence", "attribution", "every", "hosts", "prune", "full_every")
    return {name: given[name] for name in plain} | {
        "feed": given["feed"] or "",
        "database": given["database"] or "",
        "options": _options(given["options"]),
        "authentication": {"kind": kind, "file": str(file.absolute())} if kind else None,
        "openpgp_keys": [str(each.absolute()) for each in given["openpgp_keys"]],
        "enabled": not given["disabled"],
    }


def _options(pairs: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise InvalidInput(f"--option {pair!r} is no NAME=VALUE")
        found.setdefault(name, []).append(value)
    # A single value is a text, which every layout takes for a list of one where it needs a list.
    return {
        name: values if len(values) > 1 or name in ("prefixes", "files") else values[0]
        for name, values in found.items()
    }


def _raise_failures(reports: Sequence[Wire]) -> None:
    failed = [report for report in reports if report["state"] != "ok"]
    if not failed:
        return
    errors = [each["error"] or {"code": PullFailed.code, "message": ""} for each in failed]
    details = tuple(
        f"{each['source']}: {error['code']}: {error['message']}"
        for each, error in zip(failed, errors, strict=True)
    )
    found = [told(error["code"], error["message"], details=details) for error in errors]
    if all(exit_code(error) != _RETRY for error in found):
        # Trying again would meet the same: the first one's own code says what is wrong.
        raise found[0]
    raise PullFailed(f"{len(failed)} of {len(reports)} sources: {'; '.join(details)}", details=details)
