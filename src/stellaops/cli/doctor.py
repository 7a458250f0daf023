"""`stella doctor`: checks of the data directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

import click

from stellaops.adapters.sql.chores import Last
from stellaops.bootstrap import now
from stellaops.cli.frame import App, StellaCommand, pass_app
from stellaops.core.errors import InvalidInput, NotTrusted
from stellaops.exports.distribution.verify_targets import FAILED, TargetCheck
from stellaops.exports.profile import duration
from stellaops.ingest import doctor as checks
from stellaops.ingest.doctor import Finding, Room, Verdict

_LATE = timedelta(hours=26)
"""A day, and the time that the chore itself takes."""


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
    r"""Check the store, its rows, the age of feeds, the room on the disk, what targets have, and daily chores.

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
    yield check_targets([check for check, _ in app.local.target_checks.all(app.tenant)])
    yield check_chores(app.local.chores.all(), now())


def check_targets(found: Sequence[TargetCheck]) -> Finding:
    """What the last verification of each target found."""
    wrong = [f"run {each.run_id} at {each.target}" for each in found if each.status == FAILED]
    if not wrong:
        return Finding(
            "targets", Verdict.OK, f"{len(found)} bundles at targets were last found as they should be"
        )
    hint = "See what was found with `stella export target verify --last`."
    return Finding("targets", Verdict.FAILED, f"not what was brought there: {', '.join(wrong[:5])}", hint)


def check_chores(done: Sequence[Last], moment: datetime) -> Finding:
    """Whether what workers have begun to do every day is done; without a worker there is nothing to be done."""
    late = [
        each.name
        for each in done
        if each.ok is False or moment - (each.succeeded_at or each.begun_at) > _LATE
    ]
    if not late:
        return Finding("chores", Verdict.OK, f"{len(done)} are done every day")
    hint = "See `stella export chores`, and the workers' logs for `chore.failed`."
    return Finding("chores", Verdict.WARNING, f"not done for a day, or failed: {', '.join(late)}", hint)


def _room(directory: Path) -> Room:
    used = sum(file.lstat().st_size for file in directory.rglob("*") if file.is_file())
    return Room(shutil.disk_usage(directory).free, used)
