"""Two allowances with names: for sending tests, and for looking at the history of deliveries."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from stellaops.core import durations
from stellaops.core.allowances import Allowance, Allowances, Leases
from stellaops.core.errors import InvalidInput
from stellaops.notify.errors import NotifyRateExceeded

TEST_SEND, DELIVERY_HISTORY = "testSend", "deliveryHistory"
"""Names of the policies; their settings are `notify.rateLimits.NAME`."""
_FORM = re.compile(r"([1-9][0-9]{0,5})/([0-9]{1,6}[smhd])")


class BadRateLimit(InvalidInput):
    """A setting that should be a rate is none."""

    code = "ERR_NOTIFY_RATE_FORM"
    hint = "Write a rate as 10/1m: how many, and in what time."


@dataclass(frozen=True, slots=True)
class Policy:
    """So many in a time: they may come at once, and come back steadily."""

    name: str
    most: int
    seconds: float


def policy(name: str, text: str) -> Policy:
    """The policy of a setting, such as `10/1m`.

    Raises:
        BadRateLimit: see there.
    """
    found = _FORM.fullmatch(text.strip())
    time = durations.parse(found[2], seconds=True) if found else None
    if found is None or time is None:
        raise BadRateLimit(f"notify.rateLimits.{name}: {text[:80]!r} is no rate such as 10/1m")
    return Policy(name, int(found[1]), time.total_seconds())


class RateLimit:
    """A policy at work; callers have an allowance each. Safe for threads.

    Args:
        leases: what the processes of the service share.
    """

    def __init__(self, policy: Policy, leases: Leases) -> None:
        self._policy = policy
        self._allowances = Allowances(Allowance(policy.most, policy.most / policy.seconds), leases)

    def take(self, caller: str) -> None:
        """Count one.

        Raises:
            NotifyRateExceeded: the caller's allowance is used up.
        """
        own, wait = self._policy, self._allowances.at_once(caller)
        if wait is None:
            wait = self._allowances.ask(caller)
        if wait > 0:
            what = f"more than {own.most} in {own.seconds:.0f} s: notify.rateLimits.{own.name}"
            raise NotifyRateExceeded(what, limit=own.most, reset=max(1, math.ceil(wait)))
