"""The process that works on one attempt of a run; `worker.children` starts it.

It reads one order, a line of JSON, from its standard input, takes the run through its remaining steps, and writes one
line of JSON about the outcome.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from stellaops.adapters.settings.load import Settings
from stellaops.adapters.settings.targets import PREFIX, TargetSettings
from stellaops.adapters.telemetry import tracing
from stellaops.core.errors import DependencyFailed
from stellaops.exports import execute_run
from stellaops.exports.errors import RunChanged, RunNotFound
from stellaops.exports.plan_run import Tools
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.step_clock import Progress
from stellaops.worker.one_order import answer_one, local_of, told_settings

_NICENESS = 5
_MOST_ATTEMPTS = 7
_STORE_SECONDS = 60.0


class Order(msgspec.Struct, frozen=True):
    """What to do, and by which settings; its steps are traced below `traceparent`."""

    settings: dict[str, str | None]
    tenant: str
    run: str
    attempt: int
    targets: dict[str, TargetSettings] = {}
    traceparent: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What came of it: `over`, as the record says; or `retry`, after some seconds."""

    outcome: str
    seconds: float = 0.0


def main() -> None:
    """Work on one order."""
    answer_one(Order, work, _NICENESS)


def work(order: Order) -> Outcome:
    """Take a run through its remaining steps; its record says what came of it."""
    tools = local_of(order.settings, order.targets).export_tools
    steps = tracing.Steps(order.traceparent, "step.")
    try:
        _steps(order, tools, steps)
    except (RunChanged, RunNotFound) as error:
        steps.close(error)
        return Outcome("over")  # it is in other hands, or has ended
    except Exception as error:  # noqa: BLE001 - whatever it is, the record must say it
        steps.close(error)
        return _insist(partial(_failed, order, error, tools))
    return Outcome("over")


def delay(attempt: int) -> float:
    """Seconds to wait after an attempt that failed."""
    return float(min(300, 2**attempt))


def _steps(order: Order, tools: Tools, steps: tracing.Steps) -> None:
    run = execute_run.current(order.tenant, order.run, order.attempt, tools)
    for name in execute_run.STEPS:
        step: Callable[[Run, Tools, Progress], Run] = getattr(execute_run, name)
        run = step(run, tools, steps)
        if run.status is not RunStatus.RUNNING:
            break
    steps.close()


def _failed(order: Order, error: Exception, tools: Tools) -> Outcome:
    try:
        run = execute_run.current(order.tenant, order.run, order.attempt, tools)
        if execute_run.is_worth_retrying(error) and order.attempt < _MOST_ATTEMPTS:
            seconds = delay(order.attempt)
            execute_run.retry(run, error, tools, seconds=seconds)
            return Outcome("retry", seconds)
        execute_run.fail(run, error, tools)
    except (RunChanged, RunNotFound):
        pass
    return Outcome("over")


def _insist(write: Callable[[], Outcome]) -> Outcome:
    """Write an outcome, however long the store is away within reason; then the worker sees that nothing was written."""
    end = time.monotonic() + _STORE_SECONDS
    while True:
        try:
            return write()
        except DependencyFailed:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of such a process: settings come with the order."""
    return {name: value for name, value in variables.items() if not name.startswith(("STELLA_", PREFIX))}


def order_of(settings: Settings, run: Run, traceparent: str = "") -> bytes:
    """The order for an attempt of a run that has begun, as a line."""
    order = Order(
        told_settings(settings), run.tenant, run.id, run.attempt, dict(settings.targets), traceparent
    )
    return msgspec.json.encode(order) + b"\n"
