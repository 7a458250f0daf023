"""`stella excititor`: VEX in, and what stands about a vulnerability."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from stellaops.cli import importing
from stellaops.cli.concelier import quarantine
from stellaops.cli.excititor_export import export
from stellaops.cli.frame import App, StellaGroup, UsageError, pass_app
from stellaops.cli.sources import choose, pull_chosen, pull_options
from stellaops.cli.status import print_status
from stellaops.core import timestamps
from stellaops.core.errors import NotFound
from stellaops.core.timestamps import EPOCH
from stellaops.ingest.explain_consensus import Explanation, explain_consensus
from stellaops.ingest.feeds import Side, side_of
from stellaops.ingest.import_documents import ImportRequest
from stellaops.ingest.model import StoredRecord
from stellaops.ingest.pull import PullOptions
from stellaops.vex.consensus import Consensus, Held, Subject, name, reason, revision
from stellaops.vex.statement import Words
from stellaops.vex.weights import Weights, parse

_TOLD = (
    "product", "platform", "subcomponent", "status", "justification", "impactStatement", "actionStatement", "notes",
    "conflict", "reason", "consensusRevision",
)  # fmt: skip


class StatementNotFound(NotFound):
    """No document says anything about this vulnerability, or about it and the product."""

    code = "ERR_EXCITITOR_NOT_FOUND"
    hint = "Check the spelling; `stella excititor status` shows what is imported."


@click.group(cls=StellaGroup)
def excititor() -> None:
    """Import VEX, look at what is stored, and at what it comes down to.

    Documents are kept byte for byte with their provenance; importing the same input again changes nothing.
    """


excititor.add_command(quarantine)
excititor.add_command(export)


@excititor.command("import")
@importing.import_options(Side.VEX)
@pass_app
def import_(
    app: App,
    *,
    paths: tuple[Path, ...],
    source: str | None,
    listed: Path | None,
    feed: str | None,
    prune: bool,
    openpgp_keys: tuple[Path, ...],
) -> None:
    r"""Import VEX documents: files, folders, zip or tar archives (any compression).

    \b
      stella excititor import vexhub.tar.gz --source vexhub
      stella excititor import ./csaf --source vendor --prune
      stella excititor import --sources sources.yaml

    OpenVEX (JSON, YAML), CSAF, and CycloneDX (JSON, XML) are told by their content. CSAF documents are taken for what
    they say of products; `stella concelier import` takes the same documents as advisories.
    """
    if listed is not None:
        if paths or source or feed or prune or openpgp_keys:
            raise UsageError("--sources stands for PATH, --source and all other options")
        importing.import_listed(app, listed, Side.VEX)
    elif not paths or source is None:
        raise UsageError("PATH and --source NAME are needed, or --sources FILE")
    else:
        keys = tuple(file.read_bytes() for file in openpgp_keys)
        request = ImportRequest(source, feed, None, prune, keys, Side.VEX)
        importing.print_report(app, importing.import_one(app, request, paths))
    _refresh(app)


@excititor.command()
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
    r"""Fetch what changed at sources of VEX, and import it.

    \b
      stella concelier sources add vexhub --layout vex-repository --feed openvex --url https://vex.example.org/
      stella excititor pull vexhub

    Sources of VEX are those whose definition names one of its feeds.
    """
    chosen = choose(app, names, Side.VEX, every=every, due=due)
    try:
        pull_chosen(app, chosen, PullOptions(full, at_once), parallel)
    finally:
        _refresh(app)


@excititor.command()
@pass_app
def status(app: App) -> None:
    """Show every source: how many documents and statements, how fresh, what was set aside."""
    print_status(app, Side.VEX, "excititor")


@excititor.command()
@click.argument("key")
@click.option("--raw", is_flag=True, help="Write the upstream's own bytes to standard output instead.")
@pass_app
def show(app: App, key: str, *, raw: bool) -> None:
    """Show a document by its key: its path in what was imported."""
    feeds = {line.source: line.feed for line in app.local.sources.status(app.tenant)[1]}
    found = [
        each for each in app.local.records.find(key, app.tenant) if side_of(feeds[each.source]) is Side.VEX
    ]
    if not found:
        raise StatementNotFound(f"no VEX document has the key {key!r}")
    if raw:
        for record in found:
            click.echo(app.local.records.raw(record.source, record.key) or b"", nl=False)
        return
    wire = [_stored(record) for record in found]
    if app.out.form != "table":
        app.out.value(wire)
        return
    for stored in wire:
        app.out.value(stored, [(each, stored["index"][each]) for each in stored["index"]])
        app.out.line("")


@excititor.command()
@click.argument("vulnerability")
@click.option("--product", metavar="PURL", help="Only what holds for this product; also a CPE or plain id.")
@click.option(
    "--weights",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A YAML file with the weights of issuers.",
)
@click.option(
    "--at", "sequence", type=click.IntRange(0), metavar="SEQUENCE", help="As of an earlier sequence."
)
@pass_app
def consensus(
    app: App, *, vulnerability: str, product: str | None, file: Path | None, sequence: int | None
) -> None:
    r"""Show what VEX documents say about a vulnerability, what it comes down to, and why.

    \b
      stella excititor consensus CVE-2025-9232 --product pkg:deb/debian/libssl-dev
      stella excititor consensus GO-2023-1751 --weights weights.yaml --format json

    Any name of the vulnerability will do. Of an issuer the newest statement counts; of several issuers the one of the
    greatest weight.
    """
    weights = parse(file.read_bytes()) if file else Weights()
    store = app.local.consensus
    found = explain_consensus(
        vulnerability, store, tenant=app.tenant, weights=weights, product=product, sequence=sequence
    )
    if not found.states:
        about = f" and {product}" if product else ""
        raise StatementNotFound(f"no statement is about {vulnerability}{about}")
    places = {
        (held.revision, held.words)
        for _, state in found.states
        for held in _all(state)
        if held.words is not None
    }
    words = store.words(places)
    wire = _explained(found, words) | {"weights": weights.digest, "sequence": sequence}
    if app.out.form != "table":
        app.out.value(wire)
        return
    _print(app, found, words)


def _refresh(app: App) -> None:
    """Bring the consensus up to date with what was imported."""
    with app.out.progress("consensus") as steps:
        done = app.local.consensus.refresh(
            Weights(), lambda examined: steps.show(f"{examined:,} products examined")
        )
    if done.examined:
        app.out.note(f"consensus: {done.examined:,} examined, {done.changed:,} changed")


def _all(state: Consensus) -> list[Held]:
    return [*(voice.held for voice in state.voices), *state.superseded]


def _explained(found: Explanation, words: Mapping[tuple[int, int], Words]) -> dict[str, Any]:
    return {
        "vulnerability": found.vulnerability,
        "names": list(found.names),
        "consensusRevision": revision(found.states),
        "products": [_state(subject, state, words) for subject, state in found.states],
    }


def _state(subject: Subject, state: Consensus, words: Mapping[tuple[int, int], Words]) -> dict[str, Any]:
    decided = state.decided
    told = words.get((decided.revision, decided.words or 0), Words())
    return {
        "product": subject.product,
        "platform": subject.platform or None,
        "subcomponent": subject.subcomponent or None,
        "status": decided.status,
        "justification": decided.justification or None,
        "impactStatement": told.impact or None,
        "actionStatement": told.action or None,
        "notes": told.notes or None,
        "conflict": state.conflict,
        "reason": reason(state),
        "consensusRevision": state.revision,
        "statements": [_statement(held, weight, outcome) for held, weight, outcome in _outcomes(state)],
    }


def _outcomes(state: Consensus) -> list[tuple[Held, int | None, str]]:
    """Every statement with its weight and what came of it."""
    told: list[tuple[Held, int | None, str]] = []
    for place, voice in enumerate(state.voices):
        agrees = voice.held.status == state.decided.status
        told.append(
            (voice.held, voice.weight, ("agrees" if agrees else "outweighed") if place else "decides")
        )
    return told + [(held, None, "superseded") for held in state.superseded]


def _statement(held: Held, weight: int | None, outcome: str) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "status": held.status,
        "justification": held.justification or None,
        "issuer": name(held),
        "role": held.role,
        "weight": weight,
        "statedAt": _time(held),
        "vulnerability": held.vulnerability,
        "product": held.product,
        "source": held.source,
        "key": held.key,
        "position": held.position,
    }


def _print(app: App, found: Explanation, words: Mapping[tuple[int, int], Words]) -> None:
    app.out.value({}, [("vulnerability", found.vulnerability), ("names", list(found.names))])
    columns = ("outcome", "status", "issuer", "role", "weight", "statedAt", "source", "key")
    for subject, state in found.states:
        wire = _state(subject, state, words)
        app.out.line("")
        app.out.value(wire, [(each, wire[each]) for each in _TOLD if wire[each] is not None])
        lines = wire["statements"]
        app.out.rows(lines, columns, [[line[each] for each in columns] for line in lines])


def _time(held: Held) -> str | None:
    if held.stated_at is None:
        return None
    return timestamps.render(EPOCH + timedelta(microseconds=held.stated_at))


def _stored(record: StoredRecord) -> dict[str, Any]:
    return {
        "source": record.source,
        "key": record.key,
        "digest": record.digest,
        "sequence": record.sequence_from,
        "provenance": {
            "containerUrl": record.container_url,
            "containerDigest": record.container_digest,
            "path": record.path,
            "fetchedAt": timestamps.render(record.fetched_at),
            "licence": record.licence,
        },
        "index": msgspec.json.decode(record.index_row),
        "document": record.body.decode("utf-8", "replace")
        if record.verbatim
        else msgspec.json.decode(record.body),
    }
