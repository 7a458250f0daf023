"""`stella export queue` and `stella export workers`: what waits, what runs, and who works on it."""

from __future__ import annotations

import click

from stellaops.center.wire import Wire
from stellaops.cli.export.printing import second
from stellaops.cli.frame import App, StellaGroup, pass_app


@click.group(cls=StellaGroup)
def queue() -> None:
    """The queue of the service's runs, of all tenants. Local runs need none."""


@queue.command("status")
@pass_app
def queue_status(app: App) -> None:
    """Show how many runs wait and run, by tenant, and whether the queue is paused."""
    _print(app, app.center.queue.status())


@queue.command("pause")
@pass_app
def queue_pause(app: App) -> None:
    """Start no more runs, on any worker; those that run go on. Submissions are taken and wait."""
    _print(app, app.center.queue.pause())


@queue.command("resume")
@pass_app
def queue_resume(app: App) -> None:
    """Start runs again."""
    _print(app, app.center.queue.resume())


@click.group(cls=StellaGroup)
def workers() -> None:
    """The processes that work on runs."""


@workers.command("list")
@pass_app
def workers_list(app: App) -> None:
    """List the workers that are alive, and lost ones whose runs are being taken over."""
    found = app.center.queue.workers()
    names = ("id", "state", "slots", "seenAt", "runs")
    rows = [[second(each[name]) if name == "seenAt" else each[name] for name in names] for each in found]
    app.out.rows(found, ("worker", "state", "slots", "seen", "runs"), rows)


def _print(app: App, found: Wire) -> None:
    ready, running = found["ready"], found["running"]
    rows = [(tenant, ready.get(tenant, 0), running.get(tenant, 0)) for tenant in sorted({*ready, *running})]
    app.out.rows(found, ("tenant", "ready", "running"), rows)
    if found["paused"]:
        app.out.line("the queue is paused: `stella export queue resume` goes on")
