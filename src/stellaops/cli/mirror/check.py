"""`stella mirror check`: a running mirror, judged from outside."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from stellaops.adapters.mirrors.outsider import Outsider, Reached
from stellaops.adapters.web.credentials import Signer, read_secret
from stellaops.bootstrap import now
from stellaops.cli.frame import App, StellaCommand, pass_app
from stellaops.cli.trust import trusted_keys
from stellaops.ingest.pull_model import Authentication
from stellaops.mirrors.checks.report import Judged, Report
from stellaops.mirrors.checks.run import Wish, check
from stellaops.mirrors.domain import SIDES
from stellaops.mirrors.sync import Trusted

_FILE = click.Path(path_type=Path, dir_okay=False)
_EXIT_FAILED = 6


@click.command("check", cls=StellaCommand)
@click.argument("url")
@click.option(
    "--domain",
    "domains",
    multiple=True,
    metavar="ID",
    help="Only this one; all that the index names if left out.",
)
@click.option("--side", "sides", multiple=True, type=click.Choice(SIDES), help="Only this one.")
@click.option("--user", metavar="NAME", help="A user of the domain; with --password-file.")
@click.option(
    "--password-file", type=_FILE, metavar="FILE", help="A file with the user's password and nothing else."
)
@click.option(
    "--credentials", type=_FILE, metavar="FILE", help="Instead: a file with `user:password`, or with a token."
)
@click.option(
    "--credentials-kind",
    type=click.Choice(("basic", "bearer")),
    default="basic",
    show_default=True,
    help="What that file holds.",
)
@click.option(
    "--key", "keys", multiple=True, type=click.Path(path_type=Path), help="A public key that you trust."
)
@click.option("--ca-file", type=_FILE, metavar="FILE", help="PEM certificates to trust beside the system's.")
@click.option(
    "--connect-to",
    "address",
    metavar="ADDRESS",
    help="Connect to this IP address, whatever the host name leads to.",
)
@click.option("--inside", is_flag=True, help="The address lies behind what ends TLS: do not judge that.")
@click.option(
    "--every-file", "every", is_flag=True, help="Fetch every file that is listed, not a few of each side."
)
@click.option("--strict", is_flag=True, help="A SHOULD that is missed fails the mirror too.")
@click.pass_context
@pass_app
def check_mirror(app: App, context: click.Context, /, *, url: str, strict: bool, **options: Any) -> None:
    r"""Judge a running mirror as an outsider, requirement by requirement.

    \b
      stella mirror check https://mirror-primary.example.org --user edge --password-file pw --key mirror-key.pub
      stella mirror check https://mirror.example.org --domain community --format json
      stella mirror check http://127.0.0.1:8080 --inside --domain primary --credentials login

    It asks only, and changes nothing; it needs no data directory. docs/use/mirror-check.md lists the requirements. Each
    ends as ok, failed or not judged; one MUST that is missed makes the verdict `failed` and the exit code 6. Requests
    count in the hourly budgets of the credentials: some 200 for a domain. The egress settings hold: an address inside
    your network needs egress.allowPrivate, one without TLS egress.allowHttp.
    """
    ca_file = options["ca_file"]
    web = app.home.web_settings if ca_file is None else replace(app.home.web_settings, ca_file=ca_file)
    asker = Outsider(Reached(url, web, _login(options), options["address"]))
    trusted = Trusted.of(*trusted_keys(app, options["keys"])).keys if options["keys"] else {}
    wish = Wish(options["domains"], options["sides"] or SIDES, trusted, options["inside"], options["every"])
    with app.out.progress("checking") as steps:
        report = check(wish, asker, now(), steps.show)
    _print(app, report, strict=strict)
    if not report.passed(strict=strict):
        context.exit(_EXIT_FAILED)


def _login(options: Mapping[str, Any]) -> Callable[[str, Mapping[str, str]], dict[str, str]] | None:
    """The credentials as headers, read from their file once."""
    user, file, credentials = options["user"], options["password_file"], options["credentials"]
    if (user is None) != (file is None):
        raise click.UsageError("--user and --password-file go together")
    if user is not None and credentials is not None:
        raise click.UsageError("--user and --credentials exclude each other")
    if user is not None:
        coded = base64.b64encode(f"{user}:{read_secret(file)}".encode()).decode()
        return lambda url, headers: {"authorization": f"Basic {coded}"}
    if credentials is None:
        return None
    found = Signer(Authentication(options["credentials_kind"], str(credentials)), now).headers("", {})
    return lambda url, headers: found


def _print(app: App, report: Report, *, strict: bool) -> None:
    rows = [row for each in report.judged for row in _rows(each)]
    app.out.rows(report.wire(strict=strict), ("no", "level", "status", "the mirror"), rows)
    counts = report.counts()
    verdict = "passed" if report.passed(strict=strict) else "FAILED"
    told = ", ".join(
        f"{counts[name]} {text}"
        for name, text in (
            ("ok", "ok"),
            ("failed", "failed"),
            ("warnings", "warnings"),
            ("notJudged", "not judged"),
        )
    )
    names = ", ".join(report.domains) or "no domain"
    app.out.line("")
    app.out.line(f"{report.url}: {verdict} ({names}; {told}; {report.requests} requests)")


def _rows(each: Judged) -> list[tuple[str, str, str, str]]:
    """A line for the requirement, then one for each finding."""
    about = each.requirement
    return [
        (str(about.number), about.level.value, each.status, about.text),
        *(("", "", "", f"  {finding}") for finding in each.findings if each.status == "failed"),
    ]
