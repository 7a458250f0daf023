"""`stella concelier pull` and `stella concelier sources`: advisories over the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import click
import msgspec

from stellaops.advisories.databases import DATABASES
from stellaops.bootstrap import now
from stellaops.cli.frame import App, StellaCommand, StellaGroup, exit_code, pass_app
from stellaops.core import timestamps
from stellaops.core.errors import InvalidInput, StellaError
from stellaops.ingest import manage_sources
from stellaops.ingest.feeds import FEEDS, Side, side_of
from stellaops.ingest.layouts.registry import LAYOUTS
from stellaops.ingest.pull import PullOptions, pull_sources
from stellaops.ingest.pull_errors import PullFailed
from stellaops.ingest.pull_model import Authentication, Definition, PullReport, PullState

_RETRY = 10
_COUNTS = (
    "read",
    "added",
    "changed",
    "unchanged",
    "withdrawn",
    "vanished",
    "quarantined",
    "equal_keys",
    "ignored",
)


def pull_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments and options that pulls of every side have in common."""
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
def pull(
    app: App,
    *,
    names: tuple[str, ...],
    every: bool,
    due: bool,
    full: bool,
    at_once: bool,
    parallel: int | None,
) -> None:
    r"""Fetch what changed at sources, and import it.

    \b
      stella concelier pull osv-pypa osv-ghsa
      stella concelier pull --all --parallel 8

    A pull that was interrupted goes on where it was. A source that fails stops no other: it is named at the end, and
    rests for a while. Exit code 0: all are up to date; 10: some failed and are worth retrying.
    """
    chosen = choose(app, names, Side.ADVISORIES, every=every, due=due)
    pull_chosen(app, chosen, PullOptions(full, at_once), parallel)


def pull_chosen(
    app: App, definitions: list[Definition], options: PullOptions, parallel: int | None
) -> list[PullReport]:
    """Pull sources and show how each went.

    Raises:
        StellaError: what went wrong, after all were tried.
    """
    tools = app.local.pull_tools(parallel)
    with app.out.progress("pulling") as steps:
        reports = pull_sources(definitions, tools, options, at_once=tools.parallel, progress=steps.show)
    columns = ("source", "state", "fetched", "added", "changed", "vanished", "quarantined", "nextAttemptAt")
    wire = [_report(report) for report in reports]
    app.out.rows(wire, columns, [[line[name] for name in columns] for line in wire])
    if not definitions:
        app.out.note("no source is enabled or due: `stella concelier sources enable NAME`")
    for report in reports:
        for note in report.notes:
            app.out.note(f"{report.source}: {note}")
    _raise_failures(reports)
    return reports


@click.group(cls=StellaGroup)
def sources() -> None:
    """Where advisories are pulled from, how often, and how that went."""


@sources.command("list")
@click.option("--enabled", is_flag=True, help="Only enabled ones.")
@pass_app
def list_(app: App, *, enabled: bool) -> None:
    """List every defined source with its last and next pull."""
    states = app.local.pulls.states()
    found = [each for each in manage_sources.all_definitions(app.local.pulls) if each.enabled or not enabled]
    wire = [_line(each, states.get(each.name, PullState())) for each in found]
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


@sources.command("show")
@click.argument("name")
@pass_app
def show(app: App, name: str) -> None:
    """Show a source's whole definition and the state of its pulls."""
    definition = manage_sources.find_definition(name, app.local.pulls)
    app.out.value(_whole(definition, app.local.pulls.state(name)))


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
    definition = _definition(name, given)
    manage_sources.add_definition(definition, app.local.pulls, may_replace=given["replace"])
    app.out.value(_whole(definition, app.local.pulls.state(name)))


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
    manage_sources.remove_definition(name, app.local.pulls)
    app.out.value({"source": name, "removed": True})


def _switch(app: App, names: tuple[str, ...], *, enabled: bool) -> None:
    # All are looked up before the first is switched.
    for name in names:
        manage_sources.find_definition(name, app.local.pulls)
    changed = [manage_sources.switch_definition(name, app.local.pulls, enabled=enabled) for name in names]
    wire = [_line(each, app.local.pulls.state(each.name)) for each in changed]
    app.out.rows(
        wire,
        ("source", "enabled", "every"),
        [(each["source"], each["enabled"], each["every"]) for each in wire],
    )


def choose(app: App, names: tuple[str, ...], side: Side, *, every: bool, due: bool) -> list[Definition]:
    """The definitions of one side that are meant.

    Raises:
        InvalidInput: nothing is named, or too much, or a source of the other side.
    """
    if bool(names) + every + due != 1:
        raise InvalidInput("name sources, or give --all or --due", hint="See `stella concelier pull --help`.")
    store = app.local.pulls
    if names:
        named = [manage_sources.find_definition(name, store) for name in dict.fromkeys(names)]
        _refuse_others(named, side)
        return named
    enabled = [
        each for each in manage_sources.all_definitions(store) if each.enabled and side_of(each.feed) is side
    ]
    if every:
        return enabled
    states, moment = store.states(), now()
    return [each for each in enabled if _is_due(each, states.get(each.name, PullState()), moment)]


def _refuse_others(definitions: list[Definition], side: Side) -> None:
    others = [each.name for each in definitions if side_of(each.feed) is not side]
    if others:
        product = "concelier" if side is Side.VEX else "excititor"
        raise InvalidInput(
            f"{', '.join(others)}: no source of {side}", hint=f"See `stella {product} pull --help`."
        )


def _is_due(definition: Definition, state: PullState, moment: Any) -> bool:
    at = manage_sources.due_at(definition, state, moment)
    return at is not None and at <= moment


def _definition(name: str, given: Mapping[str, Any]) -> Definition:
    kind, file = given["kind"], given["auth_file"]
    if (kind is None) != (file is None):
        raise InvalidInput("--auth and --auth-file belong together", hint="Give both, or neither.")
    return Definition(
        name=name,
        layout=given["layout"],
        url=given["url"],
        feed=given["feed"] or "",
        database=given["database"] or "",
        licence=given["licence"],
        attribution=given["attribution"],
        every=given["every"],
        options=_options(given["options"]),
        hosts=given["hosts"],
        prune=given["prune"],
        full_every=given["full_every"],
        authentication=Authentication(kind, str(file.absolute())) if kind else None,
        enabled=not given["disabled"],
    )


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


def _raise_failures(reports: list[PullReport]) -> None:
    failed = [report for report in reports if report.state != "ok"]
    if not failed:
        return
    details = [f"{each.source}: {each.error_code}: {each.error_text}" for each in failed]
    errors = [each.error for each in failed if isinstance(each.error, StellaError)]
    if len(errors) == len(failed) and all(exit_code(error) != _RETRY for error in errors):
        # Trying again would meet the same: the first one's own code says what is wrong.
        errors[0].details = tuple(details)
        raise errors[0]
    raise PullFailed(f"{len(failed)} of {len(reports)} sources: {'; '.join(details)}", details=details)


def _report(report: PullReport) -> dict[str, Any]:
    done = report.report
    counts = {_camel(name): getattr(done, name) if done else 0 for name in _COUNTS}
    failing = report.error_code or None
    return {
        "source": report.source,
        "feed": report.feed or None,
        "database": report.database or None,
        **counts,
        "sequence": report.sequence,
        "resumed": done.resumed if done else False,
        "state": report.state,
        "full": report.full,
        "fetched": report.fetched,
        "notModified": report.not_modified,
        "missing": report.missing,
        "bytes": report.bytes,
        "attempts": report.attempts,
        "nextAttemptAt": _time(report.next_attempt_at),
        "error": {"code": report.error_code, "message": report.error_text} if failing else None,
        "failed": [{"url": each.url, "code": each.code, "message": each.reason} for each in report.failed],
        "notes": list(report.notes),
    }


def _line(definition: Definition, state: PullState) -> dict[str, Any]:
    return {
        "source": definition.name,
        "enabled": definition.enabled,
        "builtIn": definition.built_in,
        "layout": definition.layout,
        "url": definition.url,
        "feed": definition.feed or None,
        "database": definition.database or None,
        "every": definition.every or None,
        "licence": definition.licence,
        "attribution": definition.attribution or None,
        "tried": definition.tried,
        "state": _state(state),
        "lastAttemptAt": _time(state.started_at),
        "lastSuccessAt": _time(state.succeeded_at),
        "nextPullAt": _time(manage_sources.due_at(definition, state, now())),
        "failures": state.failures,
        "error": {"code": state.error_code, "message": state.error} if state.error_code else None,
    }


def _whole(definition: Definition, state: PullState) -> dict[str, Any]:
    wire: dict[str, Any] = msgspec.to_builtins(definition)
    rest = {
        _camel(name): wire[name]
        for name in ("options", "hosts", "prune", "full_every", "authentication", "note")
    }
    return (
        _line(definition, state) | rest | {"cursor": state.cursor or None, "lastFullAt": _time(state.full_at)}
    )


def _state(state: PullState) -> str:
    if state.error_code:
        return "resting" if state.next_attempt_at and state.next_attempt_at > now() else "failed"
    return "ok" if state.succeeded_at else "never pulled"


def _time(instant: Any) -> str | None:
    return timestamps.render(instant) if instant else None


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(map(str.capitalize, rest))
