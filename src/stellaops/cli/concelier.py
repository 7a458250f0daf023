"""`stella concelier`: advisories in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec

from stellaops.adapters.files.inputs import FileInputs
from stellaops.advisories.databases import DATABASES, GENERIC
from stellaops.advisories.documents.registry import FEEDS
from stellaops.bootstrap import now
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.core import timestamps
from stellaops.core.errors import NotFound
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.model import ImportReport, Quarantined, StoredRecord
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


@concelier.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--source", required=True, metavar="NAME", help="Name under which the documents are kept.")
@click.option(
    "--feed", type=click.Choice(sorted(FEEDS)), help="Form of the documents; told from them when left out."
)
@click.option(
    "--database",
    type=click.Choice(sorted(database.name for database in DATABASES)),
    help="The database they belong to; told from their ids when left out.",
)
@click.option(
    "--prune", is_flag=True, help="The input is complete: what the source had and it lacks has vanished."
)
@pass_app
def import_(
    app: App, *, paths: tuple[Path, ...], source: str, feed: str | None, database: str | None, prune: bool
) -> None:
    r"""Import files, folders, zip or tar archives (any compression).

    \b
      stella concelier import pypa.zip --source pypa
      stella concelier import ./advisories --source ghsa --prune

    An import that was interrupted goes on where it was when the same command runs again. Records that cannot be read
    go to quarantine and stop nothing.
    """
    request = ImportRequest(source, feed, database, prune)
    with app.out.progress(f"importing into {source}") as steps:
        report = import_documents(
            request,
            FileInputs(paths),
            sources=app.local.sources,
            store=app.local.imports,
            now=now,
            progress=lambda read: steps.show(f"{read:,} files read"),
        )
    _print_report(app, report)


@concelier.command()
@pass_app
def status(app: App) -> None:
    """Show every source: how many documents, how fresh, what was set aside."""
    sequence, lines = app.local.sources.status(app.tenant)
    sources: list[dict[str, Any]] = [
        {
            "source": line.source,
            "feed": line.feed,
            "database": line.database,
            "documents": line.documents,
            "statements": 0,
            "withdrawn": line.withdrawn,
            "vanished": line.vanished,
            "quarantined": line.quarantined,
            "licence": line.licence,
            "updatedAt": timestamps.render(line.updated_at) if line.updated_at else None,
            "checkedAt": timestamps.render(line.checked_at) if line.checked_at else None,
            "complete": line.complete,
        }
        for line in lines
    ]
    names = (
        "source",
        "database",
        "documents",
        "withdrawn",
        "vanished",
        "quarantined",
        "updatedAt",
        "complete",
    )
    wire = {"sequence": sequence, "sources": sources}
    app.out.rows(wire, names, [[source[name] for name in names] for source in sources])
    app.out.line(f"sequence {sequence}")
    if not sources:
        app.out.note(
            f"nothing is imported in {app.settings.data_dir}: `stella concelier import PATH --source NAME`"
        )


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
    _print_report(app, report)


@concelier.command()
@click.argument("identifier")
@click.option(
    "--raw", is_flag=True, help="Write the upstream's own bytes of the only match to standard output."
)
@pass_app
def show(app: App, identifier: str, raw: bool) -> None:
    """Show every document about an id: by its own id, an alias, a CVE or a key."""
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


def _print_report(app: App, report: ImportReport) -> None:
    wire = {
        "source": report.source,
        "feed": report.feed,
        "database": report.database,
        "read": report.read,
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "withdrawn": report.withdrawn,
        "vanished": report.vanished,
        "quarantined": report.quarantined,
        "equalKeys": report.equal_keys,
        "ignored": report.ignored,
        "sequence": report.sequence,
        "resumed": report.resumed,
    }
    told = [(name, value) for name, value in wire.items() if value not in (0, False)]
    app.out.value(wire, told)
    if report.database == GENERIC.name:
        app.out.note(
            "the ids are of no single known database: kept as database osv, which is trusted for no distribution;"
            " import each database as a source of its own, or give --database"
        )
    if report.quarantined:
        app.out.note(f"see `stella concelier quarantine list --source {report.source}`")


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
        },
        "index": msgspec.json.decode(record.index_row),
        "document": record.body.decode("utf-8", "replace")
        if record.verbatim
        else msgspec.json.decode(record.body),
    }
