"""`stella excititor`: VEX in, and what stands about a vulnerability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stellaops.center.interface import ConsensusWanted, PullWanted
from stellaops.center.wire import Wire
from stellaops.cli import importing
from stellaops.cli.concelier import quarantine_of
from stellaops.cli.excititor_export import export
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.cli.sources import pull_options, pull_wanted
from stellaops.cli.status import print_status
from stellaops.findings.policies import LATEST
from stellaops.ingest.feeds import Side
from stellaops.policy.snapshot import EMPTY

_TOLD = (
    "product", "platform", "subcomponent", "status", "justification", "impactStatement", "actionStatement", "notes",
    "conflict", "reason", "consensusRevision",
)  # fmt: skip


@click.group(cls=StellaGroup)
def excititor() -> None:
    """Import VEX, look at what is stored, and at what it comes down to.

    Documents are kept byte for byte with their provenance; importing the same input again changes nothing.
    """


excititor.add_command(quarantine_of(lambda app: app.center.excititor))
excititor.add_command(export)


@excititor.command("import")
@importing.import_options(Side.VEX)
@pass_app
def import_(app: App, /, **given: Any) -> None:
    r"""Import VEX documents: files, folders, zip or tar archives (any compression).

    \b
      stella excititor import vexhub.tar.gz --source vexhub
      stella excititor import ./csaf --source vendor --prune
      stella excititor import --sources sources.yaml

    OpenVEX (JSON, YAML), CSAF, and CycloneDX (JSON, XML) are told by their content. CSAF documents are taken for what
    they say of products; `stella concelier import` takes the same documents as advisories.
    """
    importing.import_given(app, app.center.excititor, Side.VEX, **given)
    _refresh(app)


@excititor.command()
@pull_options
@pass_app
def pull(app: App, /, **given: Any) -> None:
    r"""Fetch what changed at sources of VEX, and import it.

    \b
      stella concelier sources add vexhub --layout vex-repository --feed openvex --url https://vex.example.org/
      stella excititor pull vexhub

    Sources of VEX are those whose definition names one of its feeds.
    """
    try:
        pull_wanted(app, app.center.excititor, PullWanted(**given))
    finally:
        _refresh(app)


@excititor.command()
@pass_app
def status(app: App) -> None:
    """Show every source: how many documents and statements, how fresh, what was set aside."""
    print_status(app, app.center.excititor.status(), "excititor")


@excititor.command()
@click.argument("key")
@click.option("--raw", is_flag=True, help="Write the upstream's own bytes to standard output instead.")
@pass_app
def show(app: App, key: str, *, raw: bool) -> None:
    """Show a document by its key: its path in what was imported."""
    asked = app.center.excititor
    if raw:
        app.out.write(asked.raw_documents(key))
        return
    wire = asked.documents(key)
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
    "--policy-snapshot",
    "wanted",
    default=LATEST,
    show_default=True,
    metavar="DIGEST",
    help="The policy snapshot whose weights of issuers count; also `latest` and `none`.",
)
@click.option(
    "--at", "sequence", type=click.IntRange(0), metavar="SEQUENCE", help="As of an earlier sequence."
)
@pass_app
def consensus(
    app: App,
    *,
    vulnerability: str,
    product: str | None,
    file: Path | None,
    wanted: str,
    sequence: int | None,
) -> None:
    r"""Show what VEX documents say about a vulnerability, what it comes down to, and why.

    \b
      stella excititor consensus CVE-2025-9232 --product pkg:deb/debian/libssl-dev
      stella excititor consensus GO-2023-1751 --weights weights.yaml --format json

    Any name of the vulnerability will do. Of an issuer the newest statement counts; of several issuers the one of the
    greatest weight. Weights that the tenant's policy gives to issuers count as in findings.
    """
    weights = file.read_bytes() if file else None
    asked = ConsensusWanted(vulnerability, product, sequence, weights, wanted)
    wire = app.center.excititor.consensus(asked)
    if app.out.form != "table":
        app.out.value(wire)
        return
    _print(app, wire)
    if wire["policySnapshot"] != EMPTY.digest:
        app.out.note(f"weights of issuers by policy snapshot {wire['policySnapshot']}")


def _refresh(app: App) -> None:
    """Bring the consensus up to date with what was imported."""
    with app.out.progress("consensus") as steps:
        done = app.center.excititor.refresh(steps.show)
    if done["examined"]:
        app.out.note(f"consensus: {done['examined']:,} examined, {done['changed']:,} changed")


def _print(app: App, wire: Wire) -> None:
    app.out.value({}, [("vulnerability", wire["vulnerability"]), ("names", wire["names"])])
    columns = ("outcome", "status", "issuer", "role", "weight", "statedAt", "source", "key")
    for product in wire["products"]:
        app.out.line("")
        app.out.value(product, [(each, product[each]) for each in _TOLD if product[each] is not None])
        lines: list[dict[str, Any]] = product["statements"]
        app.out.rows(lines, columns, [[line[each] for each in columns] for line in lines])
