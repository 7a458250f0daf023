"""`stella export run`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from stellaops.center.interface import RunFailed, Submission
from stellaops.center.wire import Wire
from stellaops.cli.export.options import POLICY_SNAPSHOT, PRIORITY, PROFILE, SELECTORS, SNAPSHOT, WAIT, WATCH
from stellaops.cli.export.printing import event_line, print_run, print_runs
from stellaops.cli.frame import App, StellaGroup, pass_app
from stellaops.client.problems import error_of_run
from stellaops.exports.errors import ERROR_CODES
from stellaops.exports.events import EventType
from stellaops.exports.run import RunStatus
from stellaops.exports.selectors import parse_pairs

_UNDER_WAY = (RunStatus.PENDING.value, RunStatus.RUNNING.value)


@click.group(cls=StellaGroup)
def run() -> None:
    """Run exports and look at what came of them."""


@run.command("submit")
@PROFILE
@SELECTORS
@SNAPSHOT
@click.option(
    "--base", metavar="EXPORT|latest", help="What a delta is based on; the last of its chain if left out."
)
@PRIORITY
@click.option("--allow-empty", is_flag=True, help="An export of nothing is meant.")
@POLICY_SNAPSHOT
@WAIT
@WATCH
@pass_app
def run_submit(app: App, /, *, wait: bool, watch: bool, **asked: Any) -> None:
    r"""Cut a snapshot into a bundle: build, sign, verify, publish.

    \b
      stella export run submit --profile trivy:db
      stella export run submit --profile json:raw --selectors ecosystems=PyPI,severityAtLeast=high
      stella export run submit --profile trivy:db --server https://stella.example.org --watch

    The first run makes the tenant's signing key. Nothing is published that does not pass its own verification. A server
    puts the run into its queue; with --wait or --watch the command ends with the run, and by its outcome. The record
    of a run that failed is shown all the same.
    """
    submission = Submission(
        asked["profile"],
        parse_pairs(asked["selectors"]),
        asked["snapshot"],
        asked["allow_empty"],
        asked["policy_snapshot"],
        asked["base"],
        asked["priority"],
    )
    with _told(app), app.out.progress(f"exporting {submission.profile}") as steps:
        found = app.center.exports.submit(submission, steps.show)
    found = _concluded(app, found, wait=wait, watch=watch)
    _next(app, found)


@run.command("list")
@click.option("--profile", metavar="NAME", help="Only of this profile.")
@click.option("--status", metavar="STATUS", help="Only in this state.")
@click.option("--latest", is_flag=True, help="Only the newest.")
@pass_app
def run_list(app: App, profile: str | None, status: str | None, latest: bool) -> None:
    """List runs, newest first."""
    print_runs(app, app.center.exports.runs(profile, status, 1 if latest else None))


@run.command("show")
@click.argument("run_id", metavar="RUN")
@pass_app
def run_show(app: App, run_id: str) -> None:
    """Show a run; `latest` and `latest:PROFILE` name the newest successful one."""
    print_run(app, app.center.exports.run(run_id))


@run.command("watch")
@click.argument("run_id", metavar="RUN")
@pass_app
def run_watch(app: App, run_id: str) -> None:
    """Show what happens to a run until its end, whatever it was before; exits by its outcome.

    Broken connections and restarts of the server are survived: nothing is shown twice, nothing is left out.
    """
    found = app.center.exports.run(run_id)
    _print_end(app, _followed(app, found["runId"], watch=True))


@run.command("cancel")
@click.argument("run_id", metavar="RUN")
@pass_app
def run_cancel(app: App, run_id: str) -> None:
    """Stop a run that has not ended; nothing of it is published."""
    print_run(app, app.center.exports.cancel(run_id))


@run.command("replay")
@click.argument("run_id", metavar="RUN")
@click.option("--latest", is_flag=True, help="Cut the newest snapshot instead of the run's.")
@click.option(
    "--profile", metavar="NAME", help="By another profile, such as a corrected clone, in its newest revision."
)
@click.option("--allow-empty", is_flag=True, help="An export of nothing is meant.")
@WAIT
@WATCH
@pass_app
def run_replay(
    app: App, run_id: str, *, latest: bool, profile: str | None, allow_empty: bool, wait: bool, watch: bool
) -> None:
    """Run again: the same profile, selectors and snapshot give the same export."""
    with _told(app), app.out.progress(f"replaying {run_id}") as steps:
        found = app.center.exports.replay(
            run_id, latest=latest, profile=profile, allow_empty=allow_empty, progress=steps.show
        )
    _concluded(app, found, wait=wait, watch=watch)


@run.command("approve")
@click.argument("run_id", metavar="RUN")
@click.option("--reason", required=True, help="Why it may be published all the same; kept in the audit log.")
@pass_app
def run_approve(app: App, run_id: str, reason: str) -> None:
    """Let a held run go on to its publication."""
    with _told(app), app.out.progress(f"approving {run_id}") as steps:
        found = app.center.exports.approve(run_id, reason, steps.show)
    print_run(app, found)


@run.command("delete")
@click.argument("run_id", metavar="RUN")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@pass_app
def run_delete(app: App, run_id: str, dry_run: bool) -> None:
    """Remove a run's record, and its bundle, here and at targets, where no other run has the same."""
    app.out.value(app.center.exports.delete(run_id, dry_run=dry_run))


@contextmanager
def _told(app: App) -> Iterator[None]:
    """Show the record of a run that failed here before its error is told."""
    try:
        yield
    except RunFailed as failed:
        print_run(app, failed.run)
        raise failed.error from None


def _concluded(app: App, found: Wire, *, wait: bool, watch: bool) -> Wire:
    """Show a run, after its end where that is waited for or has come; a bad end is the command's.

    Raises:
        StellaError: the run's, by its `errorCode`; or it is held.
    """
    if found["status"] in _UNDER_WAY and not (wait or watch):
        print_run(app, found)
        return found
    if found["status"] in _UNDER_WAY:
        found = _followed(app, found["runId"], watch=watch)
    _print_end(app, found)
    return found


def _print_end(app: App, found: Wire) -> None:
    print_run(app, found)
    error = error_of_run(found, ERROR_CODES)
    if error is not None:
        raise error


def _followed(app: App, run_id: str, *, watch: bool) -> Wire:
    """A run at its end, or when it is held."""
    exports = app.center.exports
    try:
        with app.out.progress(f"run {run_id}") as steps:
            for event in exports.follow(run_id, progress=steps.show):
                steps.show(f"{event['type'].removeprefix('run.')} {event.get('step', '')}".rstrip())
                if watch:
                    app.out.note(event_line(event))
                if event["type"] == EventType.HELD and exports.followed(run_id)["status"] == RunStatus.HELD:
                    break
    except KeyboardInterrupt:
        app.out.note(f"run {run_id} goes on: stella export run watch {run_id}")
        raise
    return exports.followed(run_id)


def _next(app: App, found: Wire) -> None:
    if found["status"] in _UNDER_WAY:
        app.out.note(f"next: stella export run watch {found['runId']}")
    else:
        run_id = found["runId"]
        app.out.note(f"next: stella export verify {run_id} · stella export download {run_id} --to DIR")
