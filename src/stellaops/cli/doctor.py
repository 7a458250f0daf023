"""`stella doctor`: checks of an installation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta

import click

from stellaops.bootstrap import now
from stellaops.center.doctor.examine import Wanted, examine
from stellaops.cli.durations import Duration
from stellaops.cli.frame import App, StellaCommand, pass_app
from stellaops.core.errors import NotTrusted
from stellaops.ingest.doctor import Finding, Verdict


class DoctorFailed(NotTrusted):
    """A check of the doctor failed."""

    code = "ERR_DOCTOR_FAILED"
    hint = "Follow the hint of each failed check."


@click.command(cls=StellaCommand)
@click.option("--all", "everything", is_flag=True, help="Read every document, not only a sample.")
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="About how many documents to read.",
)
@click.option(
    "--max-age",
    type=Duration(" such as 12h or 7d", name="age"),
    default="7d",
    show_default=True,
    help="Sources read longer ago are pointed out.",
)
@pass_app
def doctor(app: App, everything: bool, sample: int, max_age: timedelta) -> None:
    r"""Check an installation on its machine, part by part, and say what to do about what is found.

    \b
      stella doctor
      stella doctor --all --max-age 24h

    Settings and the files that they name, databases, clocks, disks, documents and their rows, the age of feeds, keys,
    credentials and certificates, the queue, what users get from targets, daily chores, mirrors, notifications. Nothing
    is changed. Exits with 6 if a check fails; warnings alone exit with 0.
    """
    with app.out.progress("looking at the installation") as steps:
        findings = []
        for finding in _findings(app, None if everything else sample, max_age):
            steps.show(finding.name)
            findings.append(finding)
    app.out.rows(
        [asdict(finding) for finding in findings],
        ("check", "verdict", "detail", "hint"),
        [(finding.name, finding.verdict.value, finding.detail, finding.hint) for finding in findings],
    )
    failed = [finding for finding in findings if finding.verdict is Verdict.FAILED]
    if failed:
        raise DoctorFailed(
            f"{len(failed)} of {len(findings)} checks failed",
            details=[f"{finding.name}: {finding.detail}" for finding in failed],
        )


def _findings(app: App, sample: int | None, max_age: timedelta) -> Iterator[Finding]:
    yield from examine(app.local, Wanted(app.tenant, sample, max_age, now()))
