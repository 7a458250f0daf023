"""Dashboards as Grafana reads them: sections of panels, laid out three in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_SCHEMA = 39
"""Grafana 10 and 11 read it; later ones bring it up to date by themselves."""
_WIDTH, _HEIGHT = 8, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and how its series are called."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        unit: Grafana's name of it.
        kind: `timeseries`, `stat`, `table` or `bargauge`.
        limit: drawn as a line, and everything above it in red.
        stacked: whether series are summed by the eye.
    """

    title: str
    about: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    limit: float | None = None
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top, of the values of a label.

    Attributes:
        chosen: at first; all of them when empty.
    """

    name: str
    metric: str
    chosen: str = ""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A file of Grafana's."""

    uid: str
    title: str
    about: str
    variables: tuple[Variable, ...]
    sections: tuple[tuple[str, tuple[Panel, ...]], ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them, in order."""
        return tuple(panel for _, panels in self.sections for panel in panels)


def rendered(board: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    height = 0
    for title, own in board.sections:
        panels.append(_row(len(panels) + 1, title, height))
        height += 1
        for place, panel in enumerate(own):
            where = {
                "x": place % 3 * _WIDTH,
                "y": height + place // 3 * _HEIGHT,
                "w": _WIDTH,
                "h": _HEIGHT,
            }
            panels.append(_panel(len(panels) + 1, panel, where))
        height += -(-len(own) // 3) * _HEIGHT
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": ["stellaops"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "timezone": "utc",
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [_source(), *map(_choice, board.variables)]},
        "panels": panels,
    }


def _row(number: int, title: str, height: int) -> dict[str, Any]:
    where = {"x": 0, "y": height, "w": 24, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": where, "panels": []}


def _panel(number: int, panel: Panel, where: dict[str, int]) -> dict[str, Any]:
    instant = panel.kind == "table"
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": _SOURCE,
            "expr": query.expression,
            "legendFormat": query.legend,
            **({"instant": True, "format": "table"} if instant else {}),
        }
        for place, query in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": where,
        "targets": targets,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    found: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        found["custom"] = {
            "fillOpacity": 20 if panel.stacked else 5,
            "stacking": {"mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "line" if panel.limit is not None else "off"},
        }
    return found


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    return {"showHeader": True}


def _source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}


def _choice(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.metric}, {variable.name})"
    chosen = variable.chosen
    current = {"text": [chosen], "value": [chosen]} if chosen else {"text": "All", "value": "$__all"}
    return {
        "name": variable.name,
        "label": variable.name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": variable.name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": current,
    }
