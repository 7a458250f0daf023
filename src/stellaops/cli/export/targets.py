"""`stella export distribute` and `stella export target`: bringing bundles to where their users get them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from stellaops.cli.export.printing import print_run, second
from stellaops.cli.frame import App, StellaCommand, StellaGroup, pass_app
from stellaops.client.problems import told
from stellaops.exports.errors import DistributionFailed


@click.command(cls=StellaCommand)
@click.argument("run_id", metavar="RUN")
@click.option("--target", metavar="NAME", help="Only to this target; to all of the profile if left out.")
@pass_app
def distribute(app: App, run_id: str, target: str | None) -> None:
    r"""Bring a run's bundle to its targets again, such as after one of them was down.

    \b
      stella export distribute latest:mirror-daily
      stella export distribute run-20260301t120000-1a2b3c4d --target edge

    What a target has is not sent again, and its moving names never go back to something older. The targets are those of
    the profile's newest revision. A run that failed because it could not reach a required target succeeds when it has
    reached all of them. Ends with code 10 where a target was not reached.
    """
    with app.out.progress(f"distributing {run_id}") as steps:
        found = app.center.exports.distribute(run_id, target, steps.show)
    print_run(app, found)
    _demand_all(found, target)


def _demand_all(found: Mapping[str, Any], target: str | None) -> None:
    """Fail where a target was not reached.

    Raises:
        DistributionFailed: see there.
    """
    asked = [each for each in found["targets"] if target in (None, each["target"])]
    failed = [f"target {each['target']}: {each['error']}" for each in asked if each["status"] == "failed"]
    # Of all, those count that the profile still names.
    if failed and (target is not None or found["degraded"]):
        raise DistributionFailed(f"run {found['runId']}: {'; '.join(failed)}", details=failed)


@click.group(cls=StellaGroup)
def target() -> None:
    """Places that bundles are brought to, as the installation's settings name them."""


@target.command("list")
@pass_app
def target_list(app: App) -> None:
    """List the targets that profiles may name, and what is the latest at each.

    `http` is the download from the store of artefacts, which is always there.
    """
    found = app.center.exports.targets()
    rows = []
    for each in found:
        state = "ok" if each["problem"] is None else each["problem"]
        for latest in each["latest"] or [None]:
            what = (
                (latest["profile"], latest["runId"], second(latest["at"])) if latest else (None, None, None)
            )
            rows.append((each["name"], each["driver"], state, *what))
    app.out.rows(found, ("target", "driver", "settings", "profile", "latest", "at"), rows)


@target.command("test")
@click.argument("name", metavar="TARGET")
@pass_app
def target_test(app: App, name: str) -> None:
    """Send a small thing to a target, read it back and remove it; ends by what came of it."""
    with app.out.progress(f"testing {name}"):
        found = app.center.exports.test_target(name)
    if found["status"] == "failed":
        text = f"target {name}: {found['detail']}"
        raise told(found.get("errorCode") or DistributionFailed.code, text, found.get("hint"))
    app.out.value(
        found,
        [
            ("target", found["name"]),
            ("status", found["status"]),
            ("detail", found["detail"]),
            ("seconds", found["seconds"]),
            *(("remark", remark) for remark in found["remarks"]),
        ],
    )
