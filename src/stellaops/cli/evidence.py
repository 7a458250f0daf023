"""`stella evidence`: what a tenant brings in itself, and what is found in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stellaops.center.interface import FindingsWanted
from stellaops.center.wire import Wire
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.cli.importing import print_report
from stellaops.findings.policies import LATEST


@click.group(cls=StellaGroup)
def evidence() -> None:
    """Bills of materials of the tenant, and what they are vulnerable to."""


@evidence.group(cls=StellaGroup)
def sbom() -> None:
    """Bills of materials: CycloneDX and SPDX."""


@sbom.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--prune", is_flag=True, help="The input is complete: what the tenant had and it lacks is gone."
)
@pass_app
def sbom_import(app: App, *, paths: tuple[Path, ...], prune: bool) -> None:
    r"""Import bills of materials: files, folders, zip or tar archives (any compression).

    \b
      stella evidence sbom import image.cdx.json
      stella evidence sbom import ./sboms --prune

    CycloneDX as JSON or XML, SPDX as JSON or tag-value. They are kept byte for byte and belong to the tenant; the key
    of each is what it is about and its path. What cannot be read goes to quarantine and stops nothing.
    """
    with app.out.progress("importing bills of materials") as steps:
        report = app.center.evidence.import_sboms(paths, prune=prune, progress=steps.show)
    print_report(app, report)


@sbom.command("list")
@pass_app
def sbom_list(app: App) -> None:
    """List the tenant's bills of materials."""
    wires = app.center.evidence.sboms()
    names = ("subject", "form", "components", "platform", "path", "key")
    app.out.rows(wires, names, [[wire[name] for name in names] for wire in wires])


@evidence.command()
@click.option("--sbom", metavar="SUBJECT", help="Only of this subject, key or path.")
@click.option(
    "--policy-snapshot",
    "wanted",
    default=LATEST,
    show_default=True,
    metavar="DIGEST",
    help="The policy snapshot that counts; also `latest` and `none`.",
)
@click.option("--sequence", type=click.IntRange(0, 2**62), help="The evidence as it was at this sequence.")
@click.option(
    "--weights",
    "weights_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="How much issuers of VEX count, as for `stella excititor consensus`.",
)
@click.option(
    "--all", "everything", is_flag=True, help="Show suppressed findings too (JSON and YAML always do)."
)
@pass_app
def findings(
    app: App,
    *,
    sbom: str | None,
    wanted: str,
    sequence: int | None,
    weights_file: Path | None,
    everything: bool,
) -> None:
    r"""Tell what the tenant's bills of materials are vulnerable to, and why.

    \b
      stella evidence findings
      stella evidence findings --sbom pkg:oci/shop@1.2 --format json

    Each finding names the component, the vulnerability by its CVE where it has one, the documents that say so with
    their ranges, the consensus of VEX statements, and the rules of the policy that had a say.
    """
    weights = weights_file.read_bytes() if weights_file else None
    with app.out.progress("matching"):
        wire = app.center.evidence.findings(FindingsWanted(sbom, wanted, sequence, weights))
    found = wire["findings"]
    shown = [one for one in found if everything or one["status"] == "open"]
    columns = ("severity", "vulnerability", "component", "fixed", "status", "documents")
    app.out.rows(wire, columns, [_line(one) for one in shown])
    app.out.line(f"{wire['open']} open, {wire['suppressed']} suppressed")
    if not found and not app.center.evidence.sboms():
        app.out.note("the tenant has no bill of materials: `stella evidence sbom import PATH`")


def _line(one: Wire) -> list[Any]:
    status = "; ".join(one["because"]) if one["because"] else one["status"]
    documents = sorted({f"{rule['source']} {rule['key']}" for rule in one["rules"]})
    component = one["component"] or one["name"]
    return [one["severity"], one["vulnerability"], component, one["fixed"], status, documents]
