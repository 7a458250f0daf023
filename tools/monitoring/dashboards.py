"""All dashboards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.monitoring.export_boards import distribution, run_health
from tools.monitoring.grafana import Dashboard, rendered
from tools.monitoring.mirror_board import mirrors
from tools.monitoring.settings import Bounds


def dashboards(bounds: Bounds) -> dict[str, dict[str, Any]]:
    """Every dashboard as Grafana reads it, by the name of its file."""
    return {f"{each.uid.removeprefix('stella-')}.json": rendered(each) for each in every(bounds)}


def every(bounds: Bounds) -> Sequence[Dashboard]:
    """All of them."""
    return run_health(bounds), distribution(bounds), mirrors(bounds)
