"""How long sessions may go on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stellaops.authority.sessions import BadSessionSettings, SessionLimits


@pytest.mark.parametrize(("idle", "longest"), [(0, 60), (61, 60), (60, 91 * 24 * 60)])
def test_limits_that_are_out_of_order_or_too_long_are_refused(idle: int, longest: int) -> None:
    with pytest.raises(BadSessionSettings, match="idleMinutes"):
        SessionLimits(timedelta(minutes=idle), timedelta(minutes=longest))


def test_an_idle_limit_may_be_as_long_as_the_session() -> None:
    assert SessionLimits(timedelta(hours=1), timedelta(hours=1)).idle == timedelta(hours=1)
