"""The process that does one chore; `worker.chores` starts it.

A process of its own, because what it fetches and unpacks takes memory and time that a worker's signs of life must not
wait for. It reads one order, a line of JSON, from its standard input, and writes one line about what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stellaops.adapters.settings.load import Settings
from stellaops.adapters.settings.targets import TargetSettings
from stellaops.adapters.telemetry import logs, tracing
from stellaops.bootstrap import Local
from stellaops.core.errors import StellaError
from stellaops.exports.distribution.verify_targets import TargetCheck, summary, verify_targets
from stellaops.exports.retention.prune_exports import prune_exports
from stellaops.worker.one_order import answer_one, local_of, told_settings

RETENTION, VERIFY = "retention", "verify"
_NICENESS = 10


class ChoreOrder(msgspec.Struct, frozen=True):
    """Which chore to do, and by which settings."""

    chore: str
    settings: dict[str, str | None]
    targets: dict[str, TargetSettings] = {}


class Done(msgspec.Struct, frozen=True):
    """What came of it: whether it was done as it should, and what it reports."""

    ok: bool
    report: dict[str, Any] = {}


def main() -> None:
    """Do one chore."""
    answer_one(ChoreOrder, do, _NICENESS)


def do(order: ChoreOrder) -> Done:
    """Do a chore; what stops it is told, not raised."""
    local = local_of(order.settings, order.targets)
    logs.configure(local.settings.get("log.level") or "info")
    try:
        with tracing.span(f"chore.{order.chore}") as span:
            done = CHORES[order.chore](local)
            if not done.ok:
                span.failed("chore", "the chore was not done as it should")
            return done
    except StellaError as error:
        return Done(ok=False, report={"error": error.what, "errorCode": error.code})


def prune(local: Local) -> Done:
    """A pass of retention over all tenants."""
    report = prune_exports(local.retention_tools)
    return Done(report.ok, dict(report.counts()))


def verify(local: Local) -> Done:
    """Look at the newest bundles of all tenants at all their targets.

    That some are found wrong is what the chore is for; it has not done its work where it could not look.
    """
    tools, found = local.verify_tools, list[TargetCheck]()
    troubles: list[str] = []
    for tenant in local.retention_tools.tenants.with_runs():
        try:
            found.extend(verify_targets(tenant, tools))
        except StellaError as error:
            troubles.append(f"tenant {tenant}: {error.what}")
    report = summary(found) | {"troubles": troubles}
    return Done(not troubles, report)


CHORES: Mapping[str, Callable[[Local], Done]] = {RETENTION: prune, VERIFY: verify}
"""What workers do by themselves, once a day each, by name."""


def order_of(settings: Settings, chore: str) -> bytes:
    """The order for a chore, as a line."""
    return msgspec.json.encode(ChoreOrder(chore, told_settings(settings), dict(settings.targets))) + b"\n"
