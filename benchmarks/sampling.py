"""Where time goes: a look at the stack every millisecond or two, at about one per cent of cost.

A call into C counts for the Python function that made it. What is counted is the innermost function of the product, so
that time inside libraries stands at the place that asked for it.
"""

from __future__ import annotations

import signal
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

_EVERY_CPU = 0.001
_EVERY_WALL = 0.002
_ROOT = "/stellaops/"


@contextmanager
def sampled(note: Callable[[str], None], *, wall: bool = False) -> Iterator[None]:
    """Call `note` with the product's function that is at work, again and again; only in the main thread.

    Args:
        wall: look as time passes, waiting included, instead of as processor time is spent.
    """

    def look(_number: int, frame: FrameType | None) -> None:
        note(_function(frame))

    number = signal.SIGALRM if wall else signal.SIGPROF
    timer = signal.ITIMER_REAL if wall else signal.ITIMER_PROF
    every = _EVERY_WALL if wall else _EVERY_CPU
    before = signal.signal(number, look)
    signal.setitimer(timer, every, every)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(number, before)


def shares(counted: Counter[str], most: int) -> list[tuple[str, float]]:
    """The functions with the most samples and their shares of all, in per cent."""
    total = counted.total() or 1
    return [(name, round(100 * count / total, 1)) for name, count in counted.most_common(most)]


def paragraph(title: str, functions: Iterable[tuple[str, float]]) -> str:
    """The same for people."""
    text = f"{title}: " + ", ".join(f"{name} {share} %" for name, share in functions)
    return textwrap.fill(text, 116, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _function(frame: FrameType | None) -> str:
    while frame is not None:
        folder, found, module = frame.f_code.co_filename.rpartition(_ROOT)
        if found and folder:
            return f"{module.removesuffix('.py')}:{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "elsewhere"
