"""Counts of requests that the nginx in front has answered, from the log that it writes.

nginx knows what its clients got, and from where: from its cache, from a back end, or nothing. A part of the log is
counted in one transaction with how far it was read, so that each line counts once, however many processes read it
and whenever they end.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Container
from pathlib import Path

import msgspec

from stellaops.adapters.files import followed_logs
from stellaops.core.errors import StellaError
from stellaops.gateway.budgets import BudgetStore
from stellaops.gateway.errors import MirrorQuota
from stellaops.gateway.metering import Counts, series

_LOG = logging.getLogger("stellaops.gateway")
_CACHE = frozenset(("HIT", "MISS", "STALE", "REVALIDATED", "EXPIRED", "UPDATING", "BYPASS"))
_KINDS = frozenset(("index", "download"))
_STATUS = range(100, 600)


class _Line(msgspec.Struct):
    status: int = 0
    domain: str = ""
    kind: str = msgspec.field(default="", name="class")
    cache: str = msgspec.field(default="", name="cacheStatus")
    code: str = ""


_DECODER = msgspec.json.Decoder(_Line)


class ProxyLog:
    """The log of the proxy in front.

    Args:
        path: where it is written.
    """

    def __init__(self, path: Path, store: BudgetStore) -> None:
        self._path, self._store = path, store
        self._is_away = False

    def gather(self, domains: Container[str]) -> None:
        """Count what was written since the last time; what cannot be read now is read later.

        Args:
            domains: those that are told apart; everything else is counted as `-`.
        """
        try:
            for part in followed_logs.parts(self._path, self._store.read_to(str(self._path))):
                counts = _counted(part.data, domains)
                if not self._store.add_read(str(self._path), part.before, part.after, counts):
                    return  # another process reads on
        except (StellaError, OSError) as error:
            if not self._is_away:
                event = {"event": "mirror.proxy_log_unread"}
                _LOG.error("the log of the proxy cannot be read: %s", error, extra=event)
            self._is_away = True
            return
        self._is_away = False


def _counted(data: bytes, domains: Container[str]) -> Counts:
    requests: dict[tuple[str, str, int, str], int] = defaultdict(int)
    rejections: dict[str, int] = defaultdict(int)
    for text in data.splitlines():
        try:
            line = _DECODER.decode(text)
        except msgspec.DecodeError:
            continue  # of another form, or torn when the disk was full
        domain = line.domain if line.domain in domains else "-"
        kind = line.kind if line.kind in _KINDS else "other"
        status = line.status if line.status in _STATUS else 0
        if kind != "other" or status >= 400:
            requests[domain, kind, status, line.cache if line.cache in _CACHE else "NONE"] += 1
        if status == 429 and line.code == MirrorQuota.code:
            rejections[domain] += 1
    return series(requests, rejections)
