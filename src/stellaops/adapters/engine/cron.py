"""When a schedule comes next, by the library and in the way by which the engine itself goes by it."""

from __future__ import annotations

from datetime import UTC, datetime

from croniter import CroniterBadDateError, croniter


def next_time(schedule: str, after: datetime) -> datetime | None:
    """The first instant after another at which a schedule is due; None for a date that never comes.

    Args:
        schedule: five fields of cron, in UTC, as `exports.schedule.check_schedule` lets them through.
    """
    try:
        found = croniter(schedule, after.astimezone(UTC), second_at_beginning=True).get_next(datetime)
    except CroniterBadDateError:
        return None
    return datetime.fromtimestamp(found.timestamp(), UTC)
