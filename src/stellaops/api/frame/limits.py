"""Bounds on what callers may send: size, depth, header fields, requests in a time."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from stellaops.api.frame.errors import InvalidRequest, RequestRateExceeded
from stellaops.core.allowances import Allowance, Allowances, Leases

_LOG = logging.getLogger("stellaops.allowances")
_PATIENCE = 3.0  # seconds that a request waits for the store in which allowances are shared
_ALONE = 5.0  # seconds for which a store that was too slow is not waited for again
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


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
    """Allowances of requests, one for each caller, that fill steadily and hold a tenth of a minute's.

    Args:
        leases: what the API's processes share.
    """

    def __init__(self, per_minute: int, leases: Leases) -> None:
        self._limit = per_minute
        self._allowances = Allowances(Allowance(max(1.0, per_minute / 10), per_minute / 60), leases)
        # Of its own, so that requests are counted while every other thread works; one is enough, since it asks for
        # all who wait.
        self._thread = ThreadPoolExecutor(1, "allowances")
        self._alone_until = 0.0

    async def take(self, caller: str) -> None:
        """Count one request.

        Raises:
            RequestRateExceeded: the caller's allowance is used up.
        """
        wait = self._allowances.at_once(caller)
        if wait is None:
            wait = await self._asked(caller)
        if wait > 0:
            raise RequestRateExceeded(self._limit, max(1, math.ceil(wait)))

    async def _asked(self, caller: str) -> float:
        """Ask the store, for as long as a request can wait: whoever holds a row or the file may have stopped."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._alone_until:
            try:
                async with asyncio.timeout(_PATIENCE):
                    return await loop.run_in_executor(self._thread, self._allowances.ask, caller)
            except TimeoutError:
                self._alone_until = loop.time() + _ALONE
                _LOG.warning(
                    "allowances are not shared: the store takes more than %g s; this process counts for itself",
                    _PATIENCE, extra={"event": "allowances.away"},
                )  # fmt: skip
        return self._allowances.alone(caller)
