"""Schedules of profiles as schedules of the engine, which fires each of them once, however many workers there are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from dbos import DBOSClient

_PREFIX = "profile-"


def apply(client: DBOSClient, wanted: Mapping[tuple[str, str], str]) -> None:
    """Bring the engine's schedules to those of the profiles.

    Args:
        wanted: cron by tenant and name of a profile.
    """
    names = {_name(tenant, profile): (tenant, profile, cron) for (tenant, profile), cron in wanted.items()}
    there = {
        each["schedule_name"]: each["schedule"]
        for each in client.list_schedules(schedule_name_prefix=_PREFIX)
    }
    for name in there.keys() - names.keys():
        client.delete_schedule(name)
    for name, (tenant, profile, cron) in names.items():
        if there.get(name) == cron:
            continue
        client.apply_schedules(
            [
                {
                    "schedule_name": name,
                    "workflow_name": "scheduled",
                    "schedule": cron,
                    "context": {"tenant": tenant, "profile": profile},
                    "cron_timezone": "UTC",
                }
            ]
        )


def _name(tenant: str, profile: str) -> str:
    digest = hashlib.sha256(f"{tenant}\n{profile}".encode()).hexdigest()
    return f"{_PREFIX}{digest[:32]}"
