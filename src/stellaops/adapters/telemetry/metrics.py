"""Metrics in the text form of Prometheus, from what the store has counted and what is there."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from stellaops.adapters.notify.registry import openers
from stellaops.adapters.sql.chores import SqlChores
from stellaops.adapters.sql.import_counts import DOCUMENTS, STATEMENTS, SqlImportCounts
from stellaops.adapters.sql.metering import (
    BUCKETS,
    BYTES,
    DURATION,
    FAILURES,
    PRUNED,
    PUSH,
    UNREACHED,
    VERIFY_FAILURES,
    Counted,
    SqlMetering,
)
from stellaops.adapters.sql.notify_deliveries import DELIVERIES
from stellaops.adapters.telemetry.upkeep import Places, upkeep
from stellaops.exports.distribution.verify_targets import OWN_CHECKS
from stellaops.exports.errors import ERROR_CODES
from stellaops.exports.ports import Worker
from stellaops.exports.profile import DRIVERS, KINDS
from stellaops.exports.run import RunStatus
from stellaops.kit.verify import STEPS

CONTENT_TYPE = CONTENT_TYPE_LATEST
_CODES = sorted({*ERROR_CODES.values(), "adapter", "internal"})
_CHECKS = (*(step.name for step in STEPS), *OWN_CHECKS)
_OUTCOMES = ("delivered", "retried", "failed")
_OWN = ["profile", "profile_kind"]
_FRESH = 60.0  # seconds for which what takes long to find out is taken as it was

_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """Where the numbers come from.

    Attributes:
        workers: the workers that are known.
        places: what is kept, where, and how much room there is.
    """

    metering: SqlMetering
    imports: SqlImportCounts
    chores: SqlChores
    workers: Callable[[], Sequence[Worker]]
    places: Places


class Metrics:
    """What `/metrics` says."""

    def __init__(self, watched: Watched) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (_Exports(watched), _Imports(watched.imports), _Upkeep(watched)):
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        self._lock = threading.Lock()

    def families(self) -> Iterable[Metric]:
        """Every metric as it is now, with or without series."""
        return self._registry.collect()

    def text(self) -> bytes:
        """Every series as it is now."""
        with self._lock:  # two scrapers at once would ask the store for the same
            return generate_latest(self._registry)


class _Exports(Collector):
    """The exporter's series: those that can be named begin at zero."""

    def __init__(self, watched: Watched) -> None:
        self._metering = watched.metering
        self._workers = watched.workers

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        counted = self._metering.counted()
        profiles = {(kind, kind) for kind in KINDS} | self._metering.profiles()
        own: list[_Key] = sorted(profiles)
        yield _histogram(DURATION, "Seconds from the start of a run to its success", _OWN, counted, own)
        yield _counter(BYTES, "Bytes of finished bundles", _OWN, counted, own)
        labels = [*_OWN, "error_code", "tenant"]
        failures: list[_Key] = [(*each, code, "default") for each in own for code in _CODES]
        yield _counter(FAILURES, "Runs that failed", labels, counted, failures)
        checks: list[_Key] = [(*each, name) for each in own for name in _CHECKS]
        text = "Checks that failed in runs' own verifications, and in those of what targets have"
        yield _counter(VERIFY_FAILURES, text, [*_OWN, "check"], counted, checks)
        drivers: list[_Key] = [(*each, driver) for each in own for driver in DRIVERS]
        yield _histogram(PUSH, "Seconds to bring a bundle to a target", [*_OWN, "driver"], counted, drivers)
        text = "Deliveries that a target did not take"
        yield _counter(UNREACHED, text, [*_OWN, "driver"], counted, drivers)
        pruned: list[_Key] = [(*each, "default") for each in own]
        yield _counter(PRUNED, "Bundles that retention has removed", [*_OWN, "tenant"], counted, pruned)
        text = "Messages by what became of them"
        told: list[_Key] = [(kind, outcome) for kind in openers() for outcome in _OUTCOMES]
        yield _counter(DELIVERIES, text, ["channel_kind", "outcome"], counted, told)
        yield from self._gauges(dict(own_pair for own_pair in profiles))

    def _gauges(self, kinds: Mapping[str, str]) -> Iterator[Metric]:
        for name, text, status in (
            ("exporter_jobs_ready", "Runs that wait", RunStatus.PENDING),
            ("exporter_jobs_running", "Runs that are worked on", RunStatus.RUNNING),
        ):
            gauge = GaugeMetricFamily(name, text, labels=_OWN)
            numbers = self._metering.jobs(status)
            for profile in sorted({*kinds, *numbers}):
                gauge.add_metric([profile, kinds.get(profile, "")], numbers.get(profile, 0))
            yield gauge
        workers = [each for each in self._workers() if each.state == "running"]
        slots = GaugeMetricFamily("exporter_worker_concurrency", "Slots of all workers that are alive")
        slots.add_metric([], sum(each.slots for each in workers))
        yield slots


class _Imports(Collector):
    """What came in, on both sides."""

    def __init__(self, imports: SqlImportCounts) -> None:
        self._imports = imports

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        counted = self._imports.counted()
        for name, text in (
            (DOCUMENTS, "Documents of advisories by what imports did with them"),
            (STATEMENTS, "Statements of VEX by what imports did with their documents; quarantined documents"),
        ):
            family = CounterMetricFamily(name, text, labels=["source", "outcome"])
            for (series, source, outcome), value in sorted(counted.items()):
                if series == name:
                    family.add_metric([source, outcome], value)
            yield family


class _Upkeep(Collector):
    """What is kept, and what is done by itself; read once a minute at the most."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._kept: list[Metric] = []
        self._read_at = float("-inf")

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        if time.monotonic() - self._read_at > _FRESH:
            self._kept = list(upkeep(self._watched.places))
            self._read_at = time.monotonic()
        yield from self._kept
        yield from self._chores()

    def _chores(self) -> Iterator[Metric]:
        name = "exporter_chore_last_success_timestamp_seconds"
        done = GaugeMetricFamily(name, "When a chore last ended as it should", labels=["chore"])
        times = {"retention": 0.0, "verify": 0.0}
        for each in self._watched.chores.all():
            times[each.name] = each.succeeded_at.timestamp() if each.succeeded_at else 0.0
        for chore, moment in sorted(times.items()):
            done.add_metric([chore], moment)
        yield done
        name = "exporter_retention_last_success_timestamp_seconds"
        retention = GaugeMetricFamily(name, "When a pass of retention last ended as it should")
        retention.add_metric([], times["retention"])
        yield retention


def _values(name: str, labels: Sequence[str], counted: Sequence[Counted]) -> dict[_Key, float]:
    return {
        tuple(each.labels.get(label, "") for label in labels): each.value
        for each in counted
        if each.name == name
    }


def _counter(
    name: str, text: str, labels: Sequence[str], counted: Sequence[Counted], known: Iterable[_Key]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    values = dict.fromkeys(known, 0.0) | _values(name, labels, counted)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _histogram(
    name: str, text: str, labels: Sequence[str], counted: Sequence[Counted], known: Iterable[_Key]
) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    sums, counts = (_values(f"{name}_{part}", labels, counted) for part in ("sum", "count"))
    buckets: dict[_Key, dict[str, float]] = defaultdict(dict)
    for key, value in _values(f"{name}_bucket", [*labels, "le"], counted).items():
        buckets[key[:-1]][key[-1]] = value
    for key in sorted({*known, *counts}):
        told = [(str(bound), buckets[key].get(str(bound), 0.0)) for bound in BUCKETS]
        family.add_metric(key, [*told, ("+Inf", counts.get(key, 0.0))], sums.get(key, 0.0))
    return family
