"""Bounds on what callers may send: size, depth, header fields, requests in a time."""

from __future__ import annotations

import math
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from stellaops.api.frame.errors import InvalidRequest, RequestRateExceeded

_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_MOST_CALLERS = (
    20_000  # remembered at once; those idle longest are forgotten, which gives them a full allowance
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may be, and how many of them there may be.

    Attributes:
        body: bytes of a body that is read into memory.
        upload: bytes of a body that is written to a temporary file.
        depth: levels of nesting in JSON.
        headers: header fields.
        requests_per_minute: of one client, or of one address without a valid token; a tenth of it may come at once.
        incoming: a directory for uploads while they come; the system's for temporary files when None.
    """

    body: int = 1 << 20
    upload: int = 4 << 30
    depth: int = 64
    headers: int = 100
    requests_per_minute: int = 6000
    incoming: Path | None = None


def check_depth(body: bytes, limit: int) -> None:
    """Refuse JSON that is nested too deep, before a parser sees it.

    Raises:
        InvalidRequest: see there.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    depth = 0
    for token in _STRUCTURE.finditer(body):
        first = body[token.start()]
        if first in b"[{":
            depth += 1
            if depth > limit:
                raise InvalidRequest(f"the body is nested deeper than {limit} levels")
        elif first in b"]}":
            depth -= 1


class Rates:
    """Allowances of requests, one for each caller: a bucket that fills steadily and holds a tenth of a minute's."""

    def __init__(self, per_minute: int) -> None:
        self._rate = per_minute / 60
        self._size = max(1.0, per_minute / 10)
        self._limit = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str, now: float) -> None:
        """Count one request.

        Args:
            now: seconds of a clock that never goes back.

        Raises:
            RequestRateExceeded: the caller's allowance is used up.
        """
        with self._lock:
            level, at = self._buckets.pop(caller, (self._size, now))
            level = min(self._size, level + (now - at) * self._rate)
            allowed = level >= 1
            self._buckets[caller] = (level - 1 if allowed else level, now)
            if len(self._buckets) > _MOST_CALLERS:
                self._buckets.popitem(last=False)
        if not allowed:
            raise RequestRateExceeded(self._limit, max(1, math.ceil((1 - level) / self._rate)))
