"""What a process does that takes one order and gives one answer, each a line of JSON.

It ends with the process that started it: then the input ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TextIO, TypeVar

import msgspec

from stellaops.adapters.settings.load import Setting, Settings
from stellaops.adapters.settings.targets import TargetSettings
from stellaops.adapters.telemetry import tracing
from stellaops.bootstrap import Local
from stellaops.core import collecting

_Order = TypeVar("_Order", bound=msgspec.Struct)


def answer_one(form: type[_Order], work: Callable[[_Order], msgspec.Struct], niceness: int) -> None:
    """Read an order from standard input, work on it, write the answer; an input without any ends it."""
    answers = _own_output()
    os.umask(0o022)
    collecting.keep_all()
    line = sys.stdin.buffer.readline()
    if not line:
        return
    threading.Thread(target=_end_with_input, daemon=True).start()
    os.nice(niceness)
    tracing.configure("stellaops-worker")
    answer = work(msgspec.json.decode(line, type=form))
    tracing.end()
    answers.write(msgspec.json.encode(answer).decode() + "\n")
    answers.flush()


def told_settings(settings: Settings) -> dict[str, str | None]:
    """Settings as orders carry them."""
    return {name: each.value for name, each in settings.values.items()}


def local_of(settings: Mapping[str, str | None], targets: dict[str, TargetSettings]) -> Local:
    """The data directory of the settings in an order."""
    return Local(Settings({name: Setting(value, "worker") for name, value in settings.items()}, targets))


def _own_output() -> TextIO:
    """Standard output for answers alone: what anything else prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _end_with_input() -> None:
    """The input ends when the worker does, however that ends: then nothing of what was started here may go on."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)
