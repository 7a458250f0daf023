"""Every series that the product tells, as its own code makes them: names, kinds and labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from stellaops.adapters.telemetry.metrics import Metrics
from stellaops.gateway.opening import open_host
from tests.support.workers import service


@dataclass(frozen=True, slots=True)
class Told:
    """A metric.

    Attributes:
        labels: None where no sample tells them.
    """

    name: str
    kind: str
    labels: frozenset[str] | None

    @property
    def series(self) -> dict[str, frozenset[str] | None]:
        """The names that expressions know it by, with their labels."""
        if self.kind != "histogram":
            return {self.name: self.labels}
        own = self.labels or frozenset()
        return {f"{self.name}_bucket": own | {"le"}, f"{self.name}_sum": own, f"{self.name}_count": own}


def told_metrics(place: Path) -> dict[str, Told]:
    """By name: those of the API on a new data directory, those of a mirror host, and those that Prometheus makes."""
    with service(place) as center:
        families = list(Metrics(center.local.watched).families())
    own = [_of(each) for each in families if not each.name.startswith("process")]
    made = [
        Told("up", "gauge", frozenset({"job", "instance"})),
        Told("ALERTS", "gauge", frozenset({"alertname", "alertstate", "severity"})),
    ]
    return {each.name: each for each in [*own, *_of_mirrors(place), *made]}


def _of(family: Metric) -> Told:
    labels = frozenset(getattr(family, "_labelnames", ()))
    if isinstance(family, HistogramMetricFamily):
        return Told(family.name, "histogram", labels)
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Told(name, family.type, labels)


def _of_mirrors(place: Path) -> list[Told]:
    (place / "tree").mkdir(parents=True, exist_ok=True)
    variables = {
        "CONCELIER__MIRROR__EXPORTROOT": str(place / "tree"),
        "CONCELIER__MIRROR__DOMAINS__0__ID": "primary",
        "CONCELIER__MIRROR__DOMAINS__0__REQUIREAUTHENTICATION": "false",
        "STELLA_CONFIG": str(place / "none.yaml"),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STELLA_", "GATEWAY_"))}
    with patch.dict(os.environ, kept | variables, clear=True):
        host = open_host("concelier", place / "gateway", log=-1)
        text = host.about(b"/metrics")[2].decode()
    found = []
    for family in text_string_to_metric_families(text):
        labels = frozenset(name for sample in family.samples for name in sample.labels) or None
        found.append(
            Told(f"{family.name}_total" if family.type == "counter" else family.name, family.type, labels)
        )
    return found
