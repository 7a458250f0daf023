"""`stella evidence`: what a tenant brings in itself, and what is found in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stellaops.adapters.files.inputs import FileInputs
from stellaops.bootstrap import now
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.cli.importing import print_report
from stellaops.core import timestamps
from stellaops.findings.find import Request, find
from stellaops.findings.finding import Finding, digest
from stellaops.findings.policies import LATEST, find_snapshot
from stellaops.findings.ports import StoredSbom
from stellaops.ingest.feeds import Side
from stellaops.ingest.import_documents import ImportRequest, import_documents
from stellaops.ingest.model import owned_source
from stellaops.sboms.feed import SbomFeed
from stellaops.vex import weights


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
    request = ImportRequest(owned_source("sboms", app.tenant), SbomFeed.name, prune=prune, side=Side.SBOMS)
    with app.out.progress("importing bills of materials") as steps:
        report = import_documents(
            request,
            FileInputs(paths),
            sources=app.local.sources,
            store=app.local.imports,
            now=now,
            progress=lambda read: steps.show(f"{read:,} files read"),
        )
    print_report(app, report)


@sbom.command("list")
@pass_app
def sbom_list(app: App) -> None:
    """List the tenant's bills of materials."""
    app.local.bring_projections_up_to_date()
    stored = app.local.sboms.sboms(app.tenant)
    names = ("subject", "form", "components", "platform", "path", "key")
    wires = [_wire(one) for one in stored]
    app.out.rows(wires, names, [[wire[name] for name in names] for wire in wires])


def _wire(stored: StoredSbom) -> dict[str, Any]:
    platform = stored.platform
    return {
        "subject": stored.subject,
        "form": stored.form,
        "components": stored.components,
        "platform": f"{platform.family} {platform.release}".strip() if platform else None,
        "path": stored.path,
        "key": stored.key,
        "digest": stored.digest,
        "importedAt": timestamps.render(stored.fetched_at),
    }


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
    local = app.local
    local.bring_projections_up_to_date()
    snapshot = find_snapshot(app.tenant, wanted, local.policies)
    told = weights.parse(weights_file.read_bytes()) if weights_file else weights.Weights()
    request = Request(app.tenant, sbom, sequence, snapshot, told)
    with app.out.progress("matching"):
        found = find(request, local.finding_tools)
    still_open = [one for one in found if one.status == "open"]
    wire = {
        "policySnapshot": snapshot.digest,
        "digest": digest(found),
        "open": len(still_open),
        "suppressed": len(found) - len(still_open),
        "findings": [one.wire() for one in found],
    }
    columns = ("severity", "vulnerability", "component", "fixed", "status", "documents")
    app.out.rows(wire, columns, [_line(one) for one in (found if everything else still_open)])
    app.out.line(f"{len(still_open)} open, {len(found) - len(still_open)} suppressed")
    if not found and not local.sboms.sboms(app.tenant):
        app.out.note("the tenant has no bill of materials: `stella evidence sbom import PATH`")


def _line(one: Finding) -> list[Any]:
    status = "; ".join(one.because) if one.because else one.status
    documents = sorted({f"{rule.source} {rule.key}" for rule in one.rules})
    return [one.severity, one.vulnerability, one.component or one.name, one.fixed, status, documents]
