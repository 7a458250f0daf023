"""`stella concelier`: advisories in."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
import msgspec

from stellaops.advisories.aliases import identify
from stellaops.bootstrap import now
from stellaops.cli import importing, sources
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.cli.status import print_status
from stellaops.core import timestamps
from stellaops.core.errors import NotFound
from stellaops.ingest.feeds import Side
from stellaops.ingest.model import Quarantined, StoredRecord
from stellaops.ingest.retry_quarantine import retry_quarantine


class RecordNotFound(NotFound):
    """No current document has this id, alias or key."""

    code = "ERR_CONCELIER_NOT_FOUND"
    hint = "Check the spelling; `stella concelier status` shows what is imported."


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
    print_status(app, Side.ADVISORIES, "concelier")


@concelier.group(cls=StellaGroup)
def quarantine() -> None:
    """Records that could not be read, with the reason."""


@quarantine.command("list")
@click.option("--source", metavar="NAME", help="Only of this source.")
@pass_app
def quarantine_list(app: App, source: str | None) -> None:
    """List open entries."""
    entries = app.local.quarantine.list(source)
    app.out.rows(
        [_quarantined(entry) for entry in entries],
        ("entry", "source", "path", "reason", "detail"),
        [(entry.id, entry.source, entry.path, entry.reason, entry.detail[:100]) for entry in entries],
    )


@quarantine.command("show")
@click.argument("entry", type=click.IntRange(1, 2**63 - 1))
@click.option("--raw", is_flag=True, help="Write the record's bytes to standard output instead.")
@pass_app
def quarantine_show(app: App, entry: int, raw: bool) -> None:
    """Show one entry, or its bytes."""
    found, content = app.local.quarantine.raw(entry)
    if raw:
        click.echo(content, nl=False)
        return
    app.out.value(_quarantined(found))


@quarantine.command("retry")
@click.option("--source", required=True, metavar="NAME", help="The source whose entries are tried again.")
@pass_app
def quarantine_retry(app: App, source: str) -> None:
    """Read the quarantined records of a source again, with what this release can read."""
    report = retry_quarantine(
        source, quarantine=app.local.quarantine, sources=app.local.sources, store=app.local.imports, now=now
    )
    importing.print_report(app, report)


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
    if why:
        _explain(app, identifier)
        return
    found = app.local.records.find(identifier, app.tenant)
    if not found:
        raise RecordNotFound(f"no document has {identifier!r} as id, alias or key")
    if raw:
        for record in found:
            click.echo(app.local.records.raw(record.source, record.key) or b"", nl=False)
        return
    wire = [_stored(record) for record in found]
    if app.out.form != "table":
        app.out.value(wire)
        return
    for stored in wire:
        index, provenance, document = stored["index"], stored["provenance"], stored["document"]
        app.out.value(
            stored,
            [
                ("id", index["id"]),
                ("source", stored["source"]),
                ("aliases", index["aliases"]),
                ("severity", index["severity"]),
                ("published", index["published"]),
                ("modified", index["modified"]),
                ("withdrawn", index["withdrawn"]),
                ("packages", index["packages"]),
                ("digest", stored["digest"]),
                ("from", provenance["containerUrl"]),
                ("path", provenance["path"]),
                ("fetched", provenance["fetchedAt"]),
                ("licence", provenance["licence"]),
                ("sequence", stored["sequence"]),
                (
                    "summary",
                    document.get("summary") if isinstance(document, dict) else None,
                ),
            ],
        )
        app.out.line("")


def _explain(app: App, identifier: str) -> None:
    found = identify(identifier, lambda names: app.local.records.statements(names, app.tenant))
    if not found.steps:
        raise RecordNotFound(f"no document says anything about {identifier!r}")
    statements: list[dict[str, Any]] = [
        {
            "source": step.statement.source,
            "key": step.statement.key,
            "subject": step.statement.link.subject,
            "relation": step.statement.link.relation.value,
            "object": step.statement.link.object,
            "followed": step.followed,
            "reason": step.reason,
        }
        for step in found.steps
    ]
    names, covers = list(found.names), list(found.covers)
    wire = {"id": identifier, "names": names, "covers": covers, "statements": statements}
    if app.out.form != "table":
        app.out.value(wire)
        return
    app.out.value(wire, [("the same vulnerability", names), ("covers", covers)])
    columns = ("source", "key", "subject", "relation", "object", "followed", "reason")
    app.out.rows(wire, columns, [[line[name] for name in columns] for line in statements])


def _quarantined(entry: Quarantined) -> dict[str, Any]:
    wire = asdict(entry)
    return {
        "entry": wire["id"], "source": wire["source"], "path": wire["path"], "reason": wire["reason"],
        "detail": wire["detail"], "rawDigest": wire["raw_digest"], "size": wire["size"],
        "seenAt": timestamps.render(entry.seen_at),
    }  # fmt: skip


def _stored(record: StoredRecord) -> dict[str, Any]:
    return {
        "source": record.source,
        "key": record.key,
        "digest": record.digest,
        "rawDigest": record.raw_digest,
        "verbatim": record.verbatim,
        "sequence": record.sequence_from,
        "provenance": {
            "containerUrl": record.container_url,
            "containerDigest": record.container_digest,
            "path": record.path,
            "offset": record.offset,
            "length": record.length,
            "fetchedAt": timestamps.render(record.fetched_at),
            "licence": record.licence,
            **({"checked": msgspec.json.decode(record.checked)} if record.checked else {}),
        },
        "index": msgspec.json.decode(record.index_row),
        "document": record.body.decode("utf-8", "replace")
        if record.verbatim
        else msgspec.json.decode(record.body),
    }
