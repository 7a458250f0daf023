"""`stella concelier`: advisories in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from stellaops.center.interface import Ingest
from stellaops.cli import importing, sources
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.cli.status import print_status


@click.group(cls=StellaGroup)
def concelier() -> None:
    """Import advisories and look at what is stored.

    Documents are kept byte for byte with their provenance; importing the same input again changes nothing.
    """


concelier.add_command(importing.import_)
concelier.add_command(sources.pull)
concelier.add_command(sources.sources)


@concelier.command()
@pass_app
def status(app: App) -> None:
    """Show every source: how many documents, how fresh, what was set aside."""
    print_status(app, app.center.concelier.status(), "concelier")


def quarantine_of(side: Callable[[App], Ingest]) -> click.Group:
    """The commands about the records of one side that could not be read."""

    @click.group("quarantine", cls=StellaGroup)
    def quarantine() -> None:
        """Records that could not be read, with the reason."""

    @quarantine.command("list")
    @click.option("--source", metavar="NAME", help="Only of this source.")
    @pass_app
    def list_(app: App, source: str | None) -> None:
        """List open entries."""
        entries = side(app).quarantined(source)
        names = ("entry", "source", "path", "reason", "detail")
        rows = [
            [str(each[name])[:100] if name == "detail" else each[name] for name in names] for each in entries
        ]
        app.out.rows(entries, names, rows)

    @quarantine.command("show")
    @click.argument("entry", type=click.IntRange(1, 2**63 - 1))
    @click.option("--raw", is_flag=True, help="Write the record's bytes to standard output instead.")
    @pass_app
    def show(app: App, entry: int, raw: bool) -> None:
        """Show one entry, or its bytes."""
        if raw:
            app.out.write(side(app).quarantined_bytes(entry))
        else:
            app.out.value(side(app).quarantined_entry(entry))

    @quarantine.command("retry")
    @click.option("--source", required=True, metavar="NAME", help="The source whose entries are tried again.")
    @pass_app
    def retry(app: App, source: str) -> None:
        """Read the quarantined records of a source again, with what this release can read."""
        importing.print_report(app, side(app).retry(source))

    return quarantine


concelier.add_command(quarantine_of(lambda app: app.center.concelier))


@concelier.command()
@click.argument("identifier")
@click.option(
    "--raw", is_flag=True, help="Write the upstream's own bytes of the only match to standard output."
)
@click.option(
    "--why", is_flag=True, help="Show which ids are the same vulnerability, who says so, and by which rule."
)
@pass_app
def show(app: App, identifier: str, raw: bool, why: bool) -> None:
    r"""Show every document about an id: by its own id, an alias, a CVE or a key.

    \b
      stella concelier show CVE-2021-44228
      stella concelier show GHSA-jfh8-c2jp-5v3q --why
    """
    asked = app.center.concelier
    if why:
        _explain(app, asked.aliases(identifier))
    elif raw:
        app.out.write(asked.raw_documents(identifier))
    elif app.out.form != "table":
        app.out.value(asked.documents(identifier))
    else:
        for stored in asked.documents(identifier):
            _show(app, stored)


def _show(app: App, stored: dict[str, Any]) -> None:
    index, provenance, document = stored["index"], stored["provenance"], stored["document"]
    told = ("id", "aliases", "severity", "published", "modified", "withdrawn", "packages")
    rows = [(name, index[name]) for name in told]
    rows.insert(1, ("source", stored["source"]))
    rows += [
        ("digest", stored["digest"]),
        ("from", provenance["containerUrl"]),
        ("path", provenance["path"]),
        ("fetched", provenance["fetchedAt"]),
        ("licence", provenance["licence"]),
        ("sequence", stored["sequence"]),
        ("summary", document.get("summary") if isinstance(document, dict) else None),
    ]
    app.out.value(stored, rows)
    app.out.line("")


def _explain(app: App, wire: dict[str, Any]) -> None:
    if app.out.form != "table":
        app.out.value(wire)
        return
    app.out.value(wire, [("the same vulnerability", wire["names"]), ("covers", wire["covers"])])
    columns = ("source", "key", "subject", "relation", "object", "followed", "reason")
    app.out.rows(wire, columns, [[line[name] for name in columns] for line in wire["statements"]])
