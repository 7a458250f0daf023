"""The process that works on one attempt of a run: `python -m stellaops.worker.child`.

It reads one order, a line of JSON, from its standard input, takes the run through its remaining steps, and writes one
line of JSON about the outcome. It ends with the process that started it: then the input ends.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TextIO

import msgspec

from stellaops.adapters.settings.load import Setting, Settings
from stellaops.adapters.settings.targets import PREFIX, TargetSettings
from stellaops.adapters.telemetry import tracing
from stellaops.bootstrap import Local
from stellaops.core.errors import DependencyFailed
from stellaops.exports import execute_run
from stellaops.exports.errors import RunChanged, RunNotFound
from stellaops.exports.plan_run import Tools
from stellaops.exports.run import Run, RunStatus
from stellaops.exports.step_clock import Progress

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
    answers = own_output()
    os.umask(0o022)
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    threading.Thread(target=end_with_input, daemon=True).start()
    os.nice(_NICENESS)
    tracing.configure("stellaops-worker")
    outcome = work(msgspec.json.decode(line, type=Order))
    tracing.end()
    answers.write(msgspec.json.encode(outcome).decode() + "\n")
    answers.flush()


def work(order: Order) -> Outcome:
    """Take a run through its remaining steps; its record says what came of it."""
    values = {name: Setting(value, "worker") for name, value in order.settings.items()}
    local = Local(Settings(values, order.targets))
    tools, steps = local.export_tools, tracing.Steps(order.traceparent, "step.")
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


def own_output() -> TextIO:
    """Standard output for answers alone: what anything else prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def end_with_input() -> None:
    """The input ends when the worker does, however that ends: then nothing of what was started here may go on."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of such a process: settings come with the order."""
    return {name: value for name, value in variables.items() if not name.startswith(("STELLA_", PREFIX))}


def order_of(settings: Settings, run: Run, traceparent: str = "") -> bytes:
    """The order for an attempt of a run that has begun, as a line."""
    values = {name: each.value for name, each in settings.values.items()}
    order = Order(values, run.tenant, run.id, run.attempt, dict(settings.targets), traceparent)
    return msgspec.json.encode(order) + b"\n"


if __name__ == "__main__":
    main()
