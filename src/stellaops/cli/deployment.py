"""`stella config validate`: a deployment before it is started."""

from __future__ import annotations

import pwd
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from stellaops.bootstrap import now, server_extra
from stellaops.cli.frame import App, StellaCommand, pass_app
from stellaops.core.errors import InvalidInput
from stellaops.ingest.doctor import Finding, Verdict


class DeploymentInvalid(InvalidInput):
    """A deployment would not work as it is."""

    code = "ERR_DEPLOYMENT_INVALID"
    hint = "Follow the hint of each failed check, then run it again."


@click.command("validate", cls=StellaCommand)
@click.option(
    "--compose",
    "descriptions",
    multiple=True,
    type=click.File(),
    metavar="FILE",
    help="What `docker compose config --format json` prints; - for standard input.",
)
@click.option(
    "--env-file",
    "environments",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Variables of a plain host, as systemd's EnvironmentFile.",
)
@click.option("--user", metavar="NAME", help="As whom services of a plain host run; you, if left out.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A public key that signs trees; else those that the sync is given.",
)
@click.option("--quick", is_flag=True, help="Compare sizes of files in trees, not digests.")
@click.option("--all", "everything", is_flag=True, help="Show what is well, too.")
@pass_app
def validate_command(app: App, /, *, everything: bool, **options: Any) -> None:
    r"""Check a deployment before it is started: settings, images, secrets, certificates, users, quotas, trees.

    \b
      docker compose --env-file env/mirror.env -f docker-compose.mirror.yaml config --format json \
        | stella config validate --compose -
      stella config validate --env-file /etc/stellaops/mirror.env --user stellaops --key mirror-key.pub

    Files are looked at where they lie on this machine, and judged by the rights of the user that a service runs as.
    Exits with 2 if a check fails; warnings alone exit with 0.
    """  # fmt: skip
    with server_extra():
        from stellaops.deployment.validate import merged, validate  # noqa: PLC0415 - of the extra `server`
    findings = []
    with app.out.progress("looking at the deployment") as steps:
        for finding in validate(_services(options), options["keys"], now(), quick=options["quick"]):
            steps.show(finding.name)
            findings.append(finding)
    findings = merged(findings)
    shown = [each for each in findings if everything or each.verdict is not Verdict.OK]
    app.out.rows(
        [asdict(each) for each in findings],
        ("check", "verdict", "detail", "hint"),
        [(each.name, each.verdict.value, each.detail, each.hint) for each in shown],
    )
    _conclude(app, findings)


def _services(options: dict[str, Any]) -> list[Any]:
    from stellaops.deployment.services import Owner, read_compose, read_environment  # noqa: PLC0415 - as above

    found = [service for file in options["descriptions"] for service in read_compose(file.read())]
    owner = None
    if options["user"]:
        try:
            entry = pwd.getpwnam(options["user"])
        except KeyError:
            raise InvalidInput(
                f"there is no user {options['user']}", hint="Make it, or name another."
            ) from None
        owner = Owner(entry.pw_uid, frozenset({entry.pw_gid}))
    texts = ((file.read_text(encoding="utf-8"), file.name) for file in options["environments"])
    found += [read_environment(text, name, owner) for text, name in texts]
    if not found:
        raise click.UsageError("name what is to be checked: --compose FILE or --env-file FILE")
    return found


def _conclude(app: App, findings: list[Finding]) -> None:
    failed = [each for each in findings if each.verdict is Verdict.FAILED]
    if failed:
        raise DeploymentInvalid(f"{len(failed)} of {len(findings)} checks failed")
    warned = sum(each.verdict is Verdict.WARNING for each in findings)
    app.out.note(f"{len(findings)} checks, {warned} with a remark, none failed")
