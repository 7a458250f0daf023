"""Where processor time goes: a look at the stack every millisecond of it, at about one per cent of cost.

A call into C counts for the Python function that made it. What is shown is the innermost function of the product, so
that time inside libraries stands at the place that asked for it.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_EVERY = 0.001
_ROOT = "/stellaops/"


@contextmanager
def sampled(into: Counter[str]) -> Iterator[None]:
    """Count samples by function of the product while the block runs; only in the main thread."""

    def look(_number: int, frame: FrameType | None) -> None:
        into[_place(frame)] += 1

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def shares(counted: Counter[str], most: int) -> list[tuple[str, float]]:
    """The functions with the most samples and their shares of all, in per cent."""
    total = counted.total() or 1
    return [(name, round(100 * count / total, 1)) for name, count in counted.most_common(most)]


def _place(frame: FrameType | None) -> str:
    while frame is not None:
        folder, found, module = frame.f_code.co_filename.rpartition(_ROOT)
        if found and folder:
            return f"{module.removesuffix('.py')}:{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "elsewhere"
