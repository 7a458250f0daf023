"""The overview: is it well, what is going on, how fresh is what we have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from stellaops.console.pages.page import Page
from stellaops.console.visit import Listed, Visit, listed

_DAYS = 14
STATES = ("succeeded", "failed", "cancelled", "expired", "running", "pending", "held")
"""States of runs, from the bottom of a column up."""


async def overview(visit: Visit) -> Response:
    """The first page."""
    (
        health,
        queue,
        workers,
        quotas,
        statistics,
        runs,
        advisories,
        vex,
        checks,
        chores,
        domains,
        schedules,
    ) = await visit.all(
        "/readyz",
        "/api/export/queue",
        "/api/export/workers",
        "/api/export/quotas",
        f"/api/export/statistics?days={_DAYS}",
        "/api/export/runs?limit=8",
        "/api/concelier/status",
        "/api/excititor/status",
        "/api/export/verifications",
        "/api/export/chores",
        "/api/mirror/domains",
        "/api/export/schedules",
    )
    return await visit.page(
        "overview.html",
        health=health,
        queue=queue,
        workers=listed(workers),
        quotas=quotas,
        columns=columns_of(listed(statistics), datetime.now(UTC)),
        states=STATES,
        runs=listed(runs),
        advisories=_by_age(advisories),
        vex=_by_age(vex),
        verifications=listed(checks),
        chores=listed(chores),
        domains=listed(domains),
        statistics=listed(statistics),
        schedules=listed(schedules),
    )


def _by_age(status: Any) -> Listed:
    """Sources, the one that was looked at longest ago first."""
    found = listed(status, "sources")
    found.sort(key=lambda each: str(each.get("checkedAt") or ""))
    return found


def columns_of(counted: Iterable[Mapping[str, Any]], now: datetime) -> list[tuple[str, dict[str, float]]]:
    """A column for each of the last days, also for those without a run.

    Args:
        counted: `day status runs` of each day and state.
    """
    days = [f"{now - timedelta(days=back):%Y-%m-%d}" for back in range(_DAYS - 1, -1, -1)]
    found: dict[str, dict[str, float]] = {day: {} for day in days}
    for each in counted:
        if each["day"] in found:
            found[each["day"]][each["status"]] = each["runs"]
    return [(day[5:], found[day]) for day in days]


PAGES = (Page("/", overview),)
