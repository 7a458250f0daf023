"""What workers do every day: verification of what users get, and chores."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from stellaops.adapters.sql.chores import Last
from stellaops.core.counting import counted
from stellaops.exports.distribution.verify_targets import FAILED, TargetCheck
from stellaops.ingest.doctor import Finding, Verdict

_LATE = timedelta(hours=26)
"""A day, and the time that the chore itself takes."""
_UNSEEN = timedelta(hours=50)
"""Two days: one verification may be skipped, such as of a target that is away."""
_SHOWN = 5


def check_targets(found: Sequence[tuple[TargetCheck, datetime | None]], moment: datetime) -> Finding:
    """What the last verification of each target found, and when a bundle there was last found sound.

    Args:
        found: the last check of each target, profile and tenant, and when one was last sound.
    """
    wrong = [f"run {each.run_id} at {each.target}" for each, _ in found if each.status == FAILED]
    if wrong:
        hint = "See what was found with `stella export target verify --last`."
        detail = f"not what was brought there: {', '.join(wrong[:_SHOWN])}"
        return Finding("targets", Verdict.FAILED, detail, hint)
    unseen = [f"{each.profile} at {each.target} ({each.tenant})" for each, sound in found
              if moment - (sound or each.at) > _UNSEEN or sound is None]  # fmt: skip
    if unseen:
        hint = "`stella export target verify`; its remarks say what this machine lacks, or that the target is away."
        detail = f"not found sound for two days: {', '.join(unseen[:_SHOWN])}"
        return Finding("targets", Verdict.WARNING, detail, hint)
    return Finding(
        "targets", Verdict.OK, f"{counted(len(found), 'bundle')} at targets last found as brought there"
    )


def check_chores(done: Sequence[Last], moment: datetime) -> Finding:
    """Whether what workers have begun to do every day is done; without a worker there is nothing to be done."""
    late = [
        each.name
        for each in done
        if each.ok is False or moment - (each.succeeded_at or each.begun_at) > _LATE
    ]
    if not late:
        told = (
            f"{counted(len(done), 'daily chore')} done as they should be"
            if done
            else "no worker has done any yet"
        )
        return Finding("chores", Verdict.OK, told)
    hint = "See `stella export chores`, and the workers' logs for `chore.failed`."
    return Finding("chores", Verdict.WARNING, f"not done for a day, or failed: {', '.join(late)}", hint)
