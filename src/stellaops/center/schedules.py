"""Which profiles are run by themselves, and when next."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from stellaops.bootstrap import Local, server_extra
from stellaops.core import timestamps
from stellaops.exports.manage_profiles import list_profiles


def schedules_of(local: Local, tenant: str, now: datetime) -> list[dict[str, Any]]:
    """The profiles of a tenant that have a schedule, the next to run first; those that never run are the last.

    Raises:
        ServerExtraMissing: see there.
    """
    with server_extra():
        from stellaops.adapters.engine.cron import next_time  # noqa: PLC0415 - of the extra `server`
    profiles = list_profiles(tenant, local.profiles)
    named = [(each.name, each.spec.schedule) for each in profiles if each.spec.schedule]
    found = [(next_time(schedule, now), name, schedule) for name, schedule in named]
    found.sort(key=lambda each: (each[0] is None, each[0] or now, each[1]))
    return [
        {"profile": name, "schedule": schedule, "nextRunAt": timestamps.render(at) if at else None}
        for at, name, schedule in found
    ]
