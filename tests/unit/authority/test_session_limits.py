"""How long sessions may go on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stellaops.authority.sessions import BadSessionSettings, SessionLimits, SessionRecord


@pytest.mark.parametrize(("idle", "longest"), [(0, 60), (61, 60), (60, 91 * 24 * 60)])
def test_limits_that_are_out_of_order_or_too_long_are_refused(idle: int, longest: int) -> None:
    with pytest.raises(BadSessionSettings, match="idleMinutes"):
        SessionLimits(timedelta(minutes=idle), timedelta(minutes=longest))


def test_an_idle_limit_may_be_as_long_as_the_session() -> None:
    assert SessionLimits(timedelta(hours=1), timedelta(hours=1)).idle == timedelta(hours=1)


def test_a_session_that_began_under_a_wrong_clock_does_not_outlive_the_longest() -> None:
    now, limits = datetime(2026, 3, 1, tzinfo=UTC), SessionLimits()
    record = SessionRecord("id", "ci", now, now, b"")
    for ahead, is_over in ((0, False), (2, False), (60, True), (10**6, True)):
        later = now + timedelta(minutes=ahead)
        assert replace(record, began_at=later, used_at=later).is_over(limits, now) is is_over
