"""`stella export quotas`, `stella export chores` and `stella export target verify`: what looks after bundles."""

from __future__ import annotations

from collections.abc import Sequence

import click

from stellaops.center.wire import Wire
from stellaops.cli.export.printing import second
from stellaops.cli.frame import App, StellaCommand, pass_app
from stellaops.core import sizes
from stellaops.core.counting import counted
from stellaops.exports.errors import VerifyFailed


class TargetsFoundWrong(VerifyFailed):
    """What users get from a target is not what was brought there."""

    code = "ERR_EXPORT_TARGET_WRONG"
    hint = (
        "Bring the bundle there again with `stella export distribute RUN --target T`, then verify once more."
    )


@click.command(cls=StellaCommand)
@pass_app
def quotas(app: App) -> None:
    """Show what the tenant may have, and has: runs at once, runs that wait, bytes of kept bundles by store."""
    found = app.center.upkeep.quotas()
    most = found["maxStorageBytes"]
    bound = "no bound" if most is None else sizes.render(most)
    app.out.value(
        found,
        [
            ("tenant", found["tenant"]),
            ("running", f"{found['running']} of {found['maxActiveRuns']}"),
            ("pending", f"{found['pending']} of {found['maxQueuedRuns']}"),
            ("held", found["held"]),
            ("storage", f"{sizes.render(found['storedBytes'])} of {bound}"),
            *((f"{each['store']} {each['profile']}", _kept(each)) for each in found["stores"]),
        ],
    )


def _kept(each: Wire) -> str:
    return f"{sizes.render(each['bytes'])} in {counted(each['bundles'], 'bundle')}"


@click.command(cls=StellaCommand)
@pass_app
def chores(app: App) -> None:
    """List what workers do by themselves every day, when they last did, and whether it was done as it should."""
    found = app.center.upkeep.chores()
    names = ("begunAt", "finishedAt", "succeededAt")
    rows = [
        [each["chore"], *(second(each[name]) if each[name] else None for name in names), each["ok"]]
        for each in found
    ]
    app.out.rows(found, ("chore", "begun", "finished", "succeeded", "ok"), rows)


@click.command("verify", cls=StellaCommand)
@click.argument("target", required=False)
@click.option("--profile", metavar="NAME", help="Only the newest bundle of this profile.")
@click.option("--last", is_flag=True, help="Fetch nothing: show what was found the last time.")
@pass_app
def target_verify(app: App, *, target: str | None, profile: str | None, last: bool) -> None:
    r"""Fetch the newest bundles back from their targets, as their users do, and verify them.

    \b
      stella export target verify
      stella export target verify edge --profile mirror:full
      stella export target verify --last

    Each must verify by the tenant's public keys alone, be what its run made, and be what the target's moving names
    stand for; stock Trivy must find the sentinels of its databases. Workers do the same every day. Ends with code 6
    where something is wrong, after everything was looked at.
    """
    if last:
        found = [
            each
            for each in app.center.upkeep.verifications()
            if target in (None, each["target"]) and profile in (None, each["profile"])
        ]
    else:
        with app.out.progress("verifying what targets have") as steps:
            found = app.center.upkeep.verify(target, profile, steps.show)
    rows = [
        (each["profile"], each["target"], each["runId"], each["status"], second(each["at"]), _words(each))
        for each in found
    ]
    app.out.rows(found, ("profile", "target", "run", "status", "at", "detail"), rows)
    if not found:
        app.out.note(_nothing(target, profile, last=last))
    _demand_sound(found)


def _nothing(target: str | None, profile: str | None, *, last: bool) -> str:
    """Why nothing is listed: no verdict is not a good one."""
    whose = f"of profile {profile}" if profile else "of any profile"
    where = f"target {target}" if target else "any target"
    if last:
        return f"no bundle {whose} was verified at {where} yet: run this without --last"
    return f"nothing was verified: no bundle {whose} is at {where}; `stella export target list` shows what is where"


def _words(each: Wire) -> str:
    told = [f"{check['check']}: {check['detail']}" for check in each["failed"]]
    return "; ".join([*told, *each["remarks"]]) or "-"


def _demand_sound(found: Sequence[Wire]) -> None:
    """Fail where something is wrong.

    Raises:
        TargetsFoundWrong: see there.
    """
    wrong = [
        f"run {each['runId']} at target {each['target']}: {_words(each)}"
        for each in found
        if each["status"] == "failed"
    ]
    if wrong:
        raise TargetsFoundWrong("; ".join(wrong), details=wrong)
