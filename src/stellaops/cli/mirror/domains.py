"""`stella mirror init` and `stella mirror domains`: who may see what of a mirror."""

from __future__ import annotations

from typing import Any, BinaryIO

import click

from stellaops.center.local_mirrors import LocalMirrors
from stellaops.cli.frame import App, StellaCommand, StellaGroup, pass_app
from stellaops.exports import selectors as selecting
from stellaops.exports.selectors import TLP_ORDER
from stellaops.mirrors.domain import ADVISORY_FORMATS, VEX_FORMATS, Domain, read, read_file
from stellaops.mirrors.host_settings import host_settings

_LARGEST = 1 << 20


@click.command(cls=StellaCommand)
@click.argument("domain")
@click.option("--display-name", metavar="TEXT", help="What people call it; the id if left out.")
@click.option(
    "--selectors", "pairs", multiple=True, metavar="K=V,…", help="Which advisories; all if left out."
)
@click.option(
    "--vex-selectors", "vex_pairs", multiple=True, metavar="K=V,…", help="Which VEX; all if left out."
)
@click.option(
    "--tlp-at-most",
    type=click.Choice(TLP_ORDER),
    help="The highest marking that its readers may see; CLEAR if left out.",
)
@click.option(
    "--formats",
    metavar="F,…",
    help=f"Beside the bundle: {', '.join(ADVISORY_FORMATS)}; for VEX: {', '.join(VEX_FORMATS)}. All if left out.",
)
@click.option("--open", "is_open", is_flag=True, help="Readers need no credentials.")
@click.option(
    "--key", "key_ref", metavar="ID|URI", help="What signs it; the tenant's active key if left out."
)
@click.option("--cadence", metavar="D", help="How often a new tree is expected; 24h if left out.")
@click.option("--max-index-requests", type=click.IntRange(0), metavar="N", help="Of a credential in an hour.")
@click.option(
    "--max-download-requests", type=click.IntRange(0), metavar="N", help="Of a credential in an hour."
)
@pass_app
def init(app: App, /, *, domain: str, **options: Any) -> None:
    r"""Define a domain of the mirror: an audience with its selection, formats and budgets.

    \b
      stella mirror init primary --display-name "Primary mirror"
      stella mirror init community --open --selectors sources=ghsa,severityAtLeast=high
      stella mirror publish

    Everything else that a domain can say is written in a file: `stella mirror domains show DOMAIN` prints one, `stella
    mirror domains apply FILE` takes it.
    """
    _print(app, _mirrors(app).create(read(_document(domain, options))))


def _mirrors(app: App) -> LocalMirrors:
    return LocalMirrors(app.local, app.tenant)


def _document(domain: str, options: dict[str, Any]) -> dict[str, Any]:
    wire: dict[str, Any] = {"id": domain, "advisories": {}, "vex": {}, "quotas": {}}
    for field, option in (
        ("displayName", "display_name"),
        ("tlpAtMost", "tlp_at_most"),
        ("cadence", "cadence"),
        ("keyRef", "key_ref"),
    ):
        if options[option] is not None:
            wire[field] = options[option]
    if options["is_open"]:
        wire["requireAuthentication"] = False
    for part, option in (("advisories", "pairs"), ("vex", "vex_pairs")):
        if options[option]:
            wire[part]["selectors"] = selecting.parse_pairs(options[option])
    for field, option in (
        ("maxIndexRequestsPerHour", "max_index_requests"),
        ("maxDownloadRequestsPerHour", "max_download_requests"),
    ):
        if options[option] is not None:
            wire["quotas"][field] = options[option]
    if options["formats"] is not None:
        named = [name.strip() for name in options["formats"].split(",") if name.strip()]
        wire["vex"]["formats"] = [name for name in named if name in VEX_FORMATS]
        wire["advisories"]["formats"] = [name for name in named if name not in VEX_FORMATS]
    return wire


@click.group(cls=StellaGroup)
def domains() -> None:
    """Domains of the mirror: who may see what."""


@domains.command("list")
@pass_app
def domains_list(app: App) -> None:
    """List the domains of the tenant."""
    found = _mirrors(app).domains()
    rows = [
        (each.id, each.display_name, each.document.require_authentication, each.document.tlp_at_most)
        for each in found
    ]
    app.out.rows(
        [each.to_wire() for each in found], ("domain", "name", "credentials needed", "TLP at most"), rows
    )


@domains.command("show")
@click.argument("domain")
@pass_app
def domains_show(app: App, domain: str) -> None:
    """Show a domain as the document that `apply` takes."""
    _print(app, _mirrors(app).domain(domain))


@domains.command("settings")
@pass_app
def domains_settings(app: App) -> None:
    r"""Print the settings by which a mirror host serves the tenant's domains: names, credentials, budgets.

    \b
      stella mirror domains settings >> deploy/compose/env/mirror.env

    Trees do not say who may read them how often; a host is told by these variables. Domains that a host is not told of
    need credentials.
    """
    found = _mirrors(app).domains()
    told = list(host_settings(found))
    if app.format is None or app.format == "table":
        app.out.write("".join(f"{name}={value}\n" for name, value in told))
    else:
        app.out.value(dict(told))


@domains.command("apply")
@click.argument("file", type=click.File("rb"))
@pass_app
def domains_apply(app: App, file: BinaryIO) -> None:
    """Store the domains of a YAML or JSON file (- for standard input): all of them, or with one mistake none.

    Domains that the file does not name stay as they are.
    """
    done = _mirrors(app).apply(read_file(file.read(_LARGEST)))
    app.out.rows(
        [{"domain": each.id, "changed": changed} for each, changed in done],
        ("domain", "changed"),
        [(each.id, changed) for each, changed in done],
    )


@domains.command("delete")
@click.argument("domain")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@pass_app
def domains_delete(app: App, domain: str, dry_run: bool) -> None:
    """Remove a domain; the next publication has it no more, and says so to hosts that sync, which let it go too."""
    mirrors = _mirrors(app)
    found = (mirrors.domain if dry_run else mirrors.delete)(domain)
    app.out.value({"domain": found.id, "removed": not dry_run})


def _print(app: App, domain: Domain) -> None:
    document = {"domains": [domain.to_wire()]}
    if app.out.form == "table":
        app.out.document(document)
    else:
        app.out.value(document)
