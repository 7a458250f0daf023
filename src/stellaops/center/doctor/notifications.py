"""Notifications: whether what is to be told goes out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from stellaops.bootstrap import Local
from stellaops.ingest.doctor import Finding, Verdict

_LATE = timedelta(minutes=15)


def check_notifications(local: Local, moment: datetime) -> Finding:
    """Deliveries that failed, and events that nobody looked at yet."""
    counts = {str(status): number for status, number in local.notify_deliveries.counts().items()}
    return judge(counts, local.notify_outbox.waiting(), moment)


def judge(counts: Mapping[str, int], waiting: tuple[int, datetime | None], moment: datetime) -> Finding:
    """What numbers of deliveries come down to.

    Args:
        counts: deliveries by status.
        waiting: how many events nobody looked at yet, and when the oldest happened.
    """
    number, oldest = waiting
    if oldest is not None and moment - oldest > _LATE:
        hint = "Start a worker: workers tell what happened."
        return Finding("notifications", Verdict.WARNING, f"{number} events wait to be told", hint)
    failed = counts.get("failed", 0)
    if failed:
        hint = "`stella notify deliveries` says why; try a channel with `stella notify test`."
        return Finding("notifications", Verdict.WARNING, f"{failed} deliveries failed", hint)
    return Finding("notifications", Verdict.OK, "nothing waits or has failed")
