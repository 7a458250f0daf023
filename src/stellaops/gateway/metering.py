"""What a mirror host counts, and how it logs: metrics for Prometheus, and a line of JSON for each request."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from stellaops.core.errors import StellaError
from stellaops.gateway.budgets import BudgetStore

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUESTS = "mirror_requests_total"
REJECTIONS = "mirror_quota_rejections_total"
_TEXTS = {
    REQUESTS: "Requests for mirrors that were answered",
    REJECTIONS: "Requests that were over an hourly budget",
    "mirror_bundle_age_seconds": "Seconds since the newest export of a domain was told to be fresh",
    "mirror_sync_lag_seconds": "Seconds since the last sync of a domain that went through",
    "mirror_export_root_configured": "Whether a side has a directory of exports, or a back end",
}
_FULL = 128  # lines of the log that are written together
_ENCODER = msgspec.json.Encoder()

Key = tuple[str, str, int, str]
"""Domain, class, status and cache status."""
Counts = dict[tuple[str, str], float]


class Meter:
    """Counts of this process, brought to the shared store now and then."""

    def __init__(self, store: BudgetStore) -> None:
        self._store = store
        self._requests: dict[Key, int] = defaultdict(int)
        self._rejections: dict[str, int] = defaultdict(int)

    def request(self, key: Key) -> None:
        """A request was answered."""
        self._requests[key] += 1

    def rejection(self, domain: str) -> None:
        """A request was over the budget."""
        self._rejections[domain] += 1

    def flush(self) -> None:
        """Add what was counted to the store; where that is away it stays here."""
        requests, self._requests = self._requests, defaultdict(int)
        rejections, self._rejections = self._rejections, defaultdict(int)
        counts = series(requests, rejections)
        if not counts:
            return
        try:
            self._store.add(counts)
        except StellaError:
            for key, value in requests.items():
                self._requests[key] += value
            for domain, value in rejections.items():
                self._rejections[domain] += value

    def text(self, domains: Iterable[str], gauges: Mapping[str, Mapping[str, float]]) -> bytes:
        """Every series as Prometheus reads them; those that can be named begin at zero.

        Args:
            gauges: by metric, then by labels as text.
        """
        self.flush()
        series: dict[str, dict[str, float]] = {name: {} for name in _TEXTS}
        for domain in domains:
            series[REJECTIONS][_label(domain=domain)] = 0.0
            for kind in ("index", "download"):
                for status in (200, 304, 401, 429):
                    series[REQUESTS][_labels((domain, kind, status, "HIT" if status < 400 else "NONE"))] = 0.0
        for (name, labels), value in self._counts().items():
            series.setdefault(name, {})[labels] = value
        for name, values in gauges.items():
            series[name] = dict(values)
        return "".join(_family(name, values) for name, values in series.items()).encode()

    def _counts(self) -> Mapping[tuple[str, str], float]:
        try:
            return self._store.counts()
        except StellaError:
            return series(self._requests, self._rejections)


def series(requests: Mapping[Key, int], rejections: Mapping[str, int]) -> Counts:
    """Counts as the shared store has them: by metric, and labels as text."""
    counts: Counts = {(REQUESTS, _labels(key)): float(value) for key, value in requests.items()}
    return counts | {(REJECTIONS, _label(domain=key)): float(value) for key, value in rejections.items()}


def label_text(**labels: str) -> str:
    """Labels as the text form has them."""
    return _label(**labels)


def _family(name: str, values: Mapping[str, float]) -> str:
    kind = "counter" if name.endswith("_total") else "gauge"
    lines = [f"# HELP {name} {_TEXTS.get(name, name)}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{{{labels}}} {value:.17g}" for labels, value in sorted(values.items())]
    return "\n".join(lines) + "\n"


def _labels(key: Key) -> str:
    domain, kind, status, cache = key
    return _label(domain=domain, **{"class": kind}, status=str(status), cache=cache)


def _label(**labels: str) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


class AccessLog:
    """One line of JSON for each request, written in groups.

    Args:
        descriptor: of the file that is written; -1 for none.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._second, self._text = -1, ""

    def write(self, line: Mapping[str, object]) -> None:
        """Add a line; the instant is added to it."""
        if self._descriptor < 0:
            return
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._second))
        instant = f"{self._text}.{int(now % 1 * 1000):03d}Z"
        self._lines.append(_ENCODER.encode({"time": instant, "event": "mirror.access", **line}))
        if len(self._lines) >= _FULL:
            self.flush()

    def flush(self) -> None:
        """Write what there is."""
        if not self._lines:
            return
        data = memoryview(b"\n".join(self._lines) + b"\n")
        self._lines.clear()
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # nobody reads it any more; the service goes on
            return
