"""`stella doctor`: checks of the data directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import click

from stellaops.bootstrap import now
from stellaops.cli.frame import App, StellaCommand, pass_app
from stellaops.core.errors import InvalidInput, NotTrusted
from stellaops.exports.profile import duration
from stellaops.ingest import doctor as checks
from stellaops.ingest.doctor import Finding, Room, Verdict


class DoctorFailed(NotTrusted):
    """A check of the doctor failed."""

    code = "ERR_DOCTOR_FAILED"
    hint = "Follow the hint of each failed check."


class _Age(click.ParamType[timedelta]):
    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return duration(str(value))
        except (InvalidInput, ValueError):
            self.fail(f"{value!r} is no duration such as 12h or 7d", param, ctx)


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
    "--max-age", type=_Age(), default="7d", show_default=True, help="Sources read longer ago are pointed out."
)
@pass_app
def doctor(app: App, everything: bool, sample: int, max_age: timedelta) -> None:
    r"""Check the store, its rows, the age of feeds and the room on the disk.

    \b
      stella doctor
      stella doctor --all --max-age 24h

    Exits with 6 if a check fails; warnings alone exit with 0.
    """
    with app.out.progress("looking at the data directory") as steps:
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
    store = app.local.inspection
    yield checks.check_structure(store)
    yield checks.check_digests(store, sample)
    yield from checks.check_rows(store)
    _, sources = app.local.sources.status(app.tenant)
    yield checks.check_ages(sources, now=now(), limit=max_age)
    yield checks.check_quarantine(sources)
    yield checks.check_room(_room(app.local.data_dir))


def _room(directory: Path) -> Room:
    used = sum(file.lstat().st_size for file in directory.rglob("*") if file.is_file())
    return Room(shutil.disk_usage(directory).free, used)
