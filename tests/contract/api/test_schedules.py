"""When profiles are run next, over the API, by the commands and in the console: each says the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.engine.cron import next_time
from stellaops.bootstrap import now
from stellaops.core import timestamps
from tests.support.api import OTHER, Api, api, serving
from tests.unit.cli.running import call

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("0 3 * * *", "2026-03-02T03:00:00Z"),
        ("0 12 * * *", "2026-03-02T12:00:00Z"),
        ("*/30 8-18 * * mon-fri", "2026-03-02T08:00:00Z"),
        ("15 10 1 * *", "2026-04-01T10:15:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
    ],
)
def test_the_next_time_comes_after_this_moment_in_utc(schedule: str, due: str) -> None:
    assert next_time(schedule, NOON) == timestamps.parse(due)


def test_a_date_that_never_comes_is_told_as_such() -> None:
    assert next_time("0 0 31 2 *", NOON) is None


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Api]:
    with api(tmp_path) as found:
        yield found


def told(api: Api, **more: Any) -> list[dict[str, Any]]:
    answer = api.get("/api/export/schedules", **more)
    assert answer.status_code == 200
    return list(answer.json()["items"])


def test_profiles_with_schedules_are_told_the_next_one_first_and_to_their_tenant_alone(fresh: Api) -> None:
    assert told(fresh) == []
    fresh.service.profile("nightly", schedule="0 3 * * *")
    fresh.service.profile("soon", schedule="* * * * *")
    fresh.service.profile("impossible", schedule="0 0 31 2 *")
    fresh.service.profile("by-hand")
    found = told(fresh)
    assert [each["profile"] for each in found] == ["soon", "nightly", "impossible"]
    assert found[2]["nextRunAt"] is None
    at = timestamps.parse(found[0]["nextRunAt"])
    assert at is not None
    assert now() < at + timedelta(seconds=5) <= now() + timedelta(seconds=66)
    fresh.tenant(OTHER)
    assert told(fresh, tenants=(OTHER,)) == []
    assert fresh.get("/api/export/schedules", scopes=("notify:read",)).status_code == 403


def test_commands_tell_the_same_here_and_over_a_server(fresh: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.service.profile("yearly", schedule="0 0 1 1 *")
    here = call("--data-dir", str(fresh.local.data_dir), "export", "profile", "schedules", "--format", "json")
    with serving(fresh.service) as process:
        monkeypatch.setenv("STELLA_TOKEN", fresh.token())
        there = call("--server", process.url, "export", "profile", "schedules", "--format", "json")
    assert here.value == there.value == told(fresh)
    assert [each["profile"] for each in here.value] == ["yearly"]
