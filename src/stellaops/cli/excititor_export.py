"""`stella excititor export`: the consensus as documents for other tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from stellaops.adapters.files.replacing import replacing, scratch_beside
from stellaops.bundles.vex import cyclonedx, repository
from stellaops.bundles.vex.openvex import NAMESPACE, PUBLISHER, Author
from stellaops.bundles.vex.verdict import Verdict
from stellaops.cli.frame import App, StellaCommand, UsageError, pass_app
from stellaops.core import digests
from stellaops.exports import selectors as selecting
from stellaops.exports.building.vex_verdicts import Question, verdicts
from stellaops.exports.demand_whole import demand_whole
from stellaops.exports.errors import SnapshotUnknown
from stellaops.exports.export_vex import KINDS, REPOSITORY, Written, write_document
from stellaops.exports.ports import Selection
from stellaops.findings.policies import find_snapshot
from stellaops.findings.verdicts import weights_of
from stellaops.vex.products import identify, package_of
from stellaops.vex.weights import Weights, parse

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("export", cls=StellaCommand)
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What to write.")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE|DIR",
    help="The document; of a vex-repository the directory that a web server serves.",
)
@click.option("--product", metavar="PURL", help="Only what is about versions of this package.")
@click.option("--vulnerability", metavar="ID", help="Only this one, by any of its names.")
@click.option(
    "--selectors", "pairs", multiple=True, metavar="K=V,…", help="As of `stella export run submit`."
)
@click.option(
    "--snapshot", "sequence", type=click.IntRange(0), metavar="N", help="As of an earlier sequence."
)
@click.option("--weights", "file", type=_FILE, help="A YAML file with the weights of issuers.")
@click.option(
    "--policy-snapshot", metavar="D", help="Weights of issuers by this snapshot; latest for the newest."
)
@click.option("--author", default=PUBLISHER, show_default=True, help="Who publishes the document.")
@click.option(
    "--namespace",
    default=NAMESPACE,
    show_default=True,
    metavar="URL",
    help="The publisher's address, in CSAF.",
)
@click.option("--base-url", metavar="URL", help="Where DIR will be served; needed for a vex-repository.")
@click.option(
    "--update-interval",
    default="24h",
    show_default=True,
    metavar="DURATION",
    help="How often readers of a vex-repository look for a newer archive.",
)
@click.option(
    "--sbom", type=_FILE, help="A CycloneDX bill of materials (JSON) that a CycloneDX document is about."
)
@pass_app
def export(app: App, /, *, kind: str, target: Path, sequence: int | None, **options: Any) -> None:
    r"""Write the consensus as OpenVEX, CSAF or CycloneDX, or as a repository for `trivy --vex repo`.

    \b
      stella excititor export --kind openvex --product pkg:golang/github.com/acme/app --to app.openvex.json
      stella excititor export --kind csaf --selectors sources=vexhub --to vexhub.csaf.json
      stella excititor export --kind vex-repository --base-url https://vex.example.org --to /srv/vex

    The same evidence gives the same bytes. The archive of a repository is replaced in one step, so a web server may
    serve it meanwhile.
    """
    _check(kind, options)
    app.local.bring_projections_up_to_date()
    newest = app.local.evidence.sequence()
    if sequence is not None and sequence > newest:
        raise SnapshotUnknown(f"snapshot {sequence} does not exist; the newest is {newest}")
    at = newest if sequence is None else sequence
    found = _verdicts(app, at, options)
    author = Author(options["author"], options["namespace"])
    linked = cyclonedx.read_linked(options["sbom"].read_bytes()) if options["sbom"] else None
    document = target / repository.ARCHIVE if kind == REPOSITORY else target
    with (
        app.out.progress("export"),
        scratch_beside(document) as scratch,
        replacing(document) as out,
    ):
        written = write_document(kind, found, out, scratch, author, linked=linked)
        demand_whole(at, app.local.evidence)  # what was there before stays where it was not
    if kind == REPOSITORY:
        with replacing(target / repository.MANIFEST) as out:
            url = f"{options['base_url'].rstrip('/')}/{repository.ARCHIVE}"
            out.write(repository.manifest(author, url, options["update_interval"]))
    app.out.value(_wire(kind, target, document, written, at))


def _check(kind: str, options: dict[str, Any]) -> None:
    """Options that belong to another kind are mistakes."""
    url = options["base_url"]
    if kind == REPOSITORY and not (url or "").startswith(("http://", "https://")):
        raise UsageError(
            "--base-url with http:// or https:// is needed: the repository names its archive by it"
        )
    if kind != REPOSITORY and url:
        raise UsageError(f"--base-url says nothing about {kind}")
    if kind != "cyclonedx" and options["sbom"]:
        raise UsageError(f"--sbom says nothing about {kind}")
    if not repository.is_duration(options["update_interval"]):
        raise UsageError(
            f"--update-interval: {options['update_interval']!r} is no duration such as 24h or 90m"
        )


def _verdicts(app: App, sequence: int, options: dict[str, Any]) -> Iterator[list[Verdict]]:
    weights = parse(options["file"].read_bytes()) if options["file"] else Weights()
    if options["policy_snapshot"]:
        weights = weights_of(
            find_snapshot(app.tenant, options["policy_snapshot"], app.local.policies), weights
        )
    chosen = selecting.parse(selecting.parse_pairs(options["pairs"]))
    product = options["product"]
    question = Question(
        weights,
        widened=True,
        package=package_of(identify(product)) if product else None,
        vulnerability=options["vulnerability"],
    )
    return verdicts(app.local.vex_rows, Selection(app.tenant, sequence, chosen), question)


def _wire(kind: str, target: Path, document: Path, written: Written, sequence: int) -> dict[str, Any]:
    with document.open("rb") as file:
        digest = digests.of_file(file)
    wire = {
        "kind": kind,
        "path": str(target),
        "sha256": digest,
        "sequence": sequence,
        "vulnerabilities": written.vulnerabilities,
        "statements": written.statements,
        "leftOut": written.left_out,
    }
    return wire | ({} if written.packages is None else {"packages": written.packages})
